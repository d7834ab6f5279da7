"""Which protection a job has: the two sides that the JobSpec's `aggregation` names."""

from almoner.admission.grid import job_grid
from almoner.encryption.bfv_server import BfvServer
from almoner.encryption.bfv_site import BfvSite
from almoner.errors import ProtocolError
from almoner.flare.job.group_protection import grouped_server, grouped_site, robust_server
from almoner.flare.site.site_files import SiteFiles
from almoner.privacy.plans import plan_of
from almoner.protection import parties
from almoner.protection.plain import PlainServer, PlainSite
from almoner.protection.scheme import ServerProtection, SiteProtection
from almoner.protection.set_up import JobTerms
from almoner.schema.base import digest
from almoner.schema.consortium import Roster
from almoner.schema.envelope import JobEnvelope
from almoner.schema.job import JobSpec
from almoner.secagg.server import SecaggServer
from almoner.secagg.site import SecaggSite
from almoner.training.floor import least_energy
from almoner.training.grid import UpdateGrid

QUIET_UPDATE = 1e-9
"""Chance that an honest update is left out as one without noise."""


def declared_sizes(roster: Roster, envelope: JobEnvelope) -> dict[str, int]:
    """Return the declared sizes of the job's data set at its sites, in roster order.

    Raises:
        ProtocolError: the roster lacks one.
    """
    dataset = envelope.spec.dataset
    sizes = {site: size for site, size in roster.nominal_records(dataset).items() if site in envelope.sites}
    if missing := set(envelope.sites) - set(sizes):
        raise ProtocolError(f"the roster has no size of {dataset} at {', '.join(sorted(missing))}")
    return sizes


def job_terms(envelope: JobEnvelope, job_id: str, sizes: dict[str, int], dimension: int, grid: UpdateGrid) -> JobTerms:
    """Return what all parties of a protected job must mean alike: one digest of it enters every signature.

    Args:
        sizes: what `declared_sizes` returned.

    Raises:
        ProtocolError: the protection has no terms, or there are too few sites for those that may collude.
    """
    spec = envelope.training
    if spec.aggregation.kind == "plain" or spec.aggregation.kind == "robust":
        raise ProtocolError(f"{spec.aggregation.kind} aggregation has no terms")
    return JobTerms(
        envelope_digest=digest(envelope),
        job_id=job_id,
        scheme=spec.aggregation.kind,
        sites=envelope.sites,
        declared=tuple(sizes[name] for name in envelope.sites),
        num_colluding_sites=spec.num_colluding_sites,
        min_sites=spec.min_sites,
        dimension=dimension,
        limit=0 if spec.privacy.mechanism == "distributed_dp" else grid.limit,  # 0: modulo p, nothing saturates
        step=grid.step,
        nonce=envelope.nonce,
    )


def site_protection(
    site: SiteFiles, envelope: JobEnvelope, job_id: str, dimension: int, grid: UpdateGrid
) -> SiteProtection:
    """Return a site's side, without keys yet. Its keys and what it has answered live in this object alone."""
    spec = envelope.training
    if spec.aggregation.kind in ("plain", "robust"):
        return PlainSite(dimension)
    terms = job_terms(envelope, job_id, declared_sizes(site.roster, envelope), dimension, grid)
    if spec.grouping is not None:
        return grouped_site(site, spec, spec.grouping, terms)
    made = SecaggSite if spec.aggregation.kind == "secagg" else BfvSite
    return made(terms, site.roster, site.root_ca.read_bytes(), site.policy.site, site.private_key())


def server_protection(envelope: JobEnvelope, job_id: str, roster: Roster, dimension: int) -> ServerProtection:
    """Return the server's side: it relays, and adds or combines; it holds no key."""
    spec = envelope.training
    sizes, noise = declared_sizes(roster, envelope), plan_of(spec, len(envelope.sites)).noise_multiplier
    grid = job_grid(spec, noise, sizes.values(), dimension)  # the sites compute it from what they have reserved
    if spec.aggregation.kind == "plain":
        return PlainServer(dimension, spec.min_sites, _floor(spec, noise, dimension, grid))
    if spec.aggregation.kind == "robust":
        return robust_server(spec, spec.aggregation, sizes, dimension, grid, _floor(spec, noise, dimension, grid))
    terms = job_terms(envelope, job_id, sizes, dimension, grid)
    if spec.grouping is not None:
        return grouped_server(spec, spec.grouping, terms, roster)
    return SecaggServer(terms, roster) if spec.aggregation.kind == "secagg" else BfvServer(terms, roster)


def _floor(spec: JobSpec, noise_multiplier: float, dimension: int, grid: UpdateGrid) -> float:
    """Return the least energy of an update with its noise, in grid steps squared; 0 without noise."""
    deviation = noise_multiplier * spec.privacy.max_grad_norm / grid.step
    return least_energy(deviation, 1.0, dimension, QUIET_UPDATE)


def quorum(envelope: JobEnvelope) -> int:
    """Return how many sites must say the same before it counts: fewer could be those that collude."""
    return parties.quorum(envelope.spec, len(envelope.sites))
