"""A job's protection with all its sites in this process: the classes that a federation runs, and keys made here."""

import secrets
from collections.abc import Callable, Mapping

from almoner.encryption.bfv_server import BfvServer
from almoner.encryption.bfv_site import BfvSite
from almoner.errors import PolicyViolation
from almoner.experiments.pipeline.driven import DrivenJob, Listener
from almoner.experiments.pipeline.trial_consortium import TrialConsortium
from almoner.protection.certificates import site_keys
from almoner.protection.draw import DrawTerms
from almoner.protection.draw_site import DrawRecord, DrawStore, SiteDraw
from almoner.protection.groups import GroupLayout
from almoner.protection.plain import PlainServer, PlainSite
from almoner.protection.set_up import JobTerms
from almoner.schema.aggregation import Grouping
from almoner.schema.base import digest
from almoner.schema.consortium import Roster
from almoner.schema.job import JobSpec
from almoner.secagg.group_server import GroupedServer
from almoner.secagg.group_site import GroupedSite
from almoner.secagg.grouping import GroupedTerms
from almoner.secagg.server import SecaggServer
from almoner.secagg.site import SecaggSite
from almoner.training.grid import UpdateGrid


class MemoryStore(DrawStore):
    """One site's record of a draw, which ends with this process."""

    def __init__(self) -> None:
        self._record: DrawRecord | None = None

    def change(self, step: Callable[[DrawRecord | None], DrawRecord]) -> DrawRecord:
        """Replace the record by what `step` makes of it; see the base class."""
        self._record = step(self._record)
        return self._record


def terms_of(spec: JobSpec, sizes: Mapping[str, int], dimension: int, grid: UpdateGrid) -> JobTerms:
    """Return what the parties of a protected job mean alike.

    Args:
        spec: under `he` or `secagg`.
        sizes: declared size of each site, in roster order.
        dimension: d.
        grid: of the updates.

    Raises:
        PolicyViolation: the job's updates travel in clear.
        ProtocolError: the protection does not work with these numbers.
    """
    if spec.aggregation.kind == "plain" or spec.aggregation.kind == "robust":
        raise PolicyViolation(f"{spec.aggregation.kind} aggregation has no terms")
    return JobTerms(
        envelope_digest=digest(spec),
        job_id="in-this-process",
        scheme=spec.aggregation.kind,
        sites=tuple(sizes),
        declared=tuple(sizes.values()),
        num_colluding_sites=spec.num_colluding_sites,
        min_sites=spec.min_sites,
        dimension=dimension,
        limit=grid.limit,
        step=grid.step,
        nonce=secrets.token_hex(16),
    )


def drive(
    spec: JobSpec, terms: JobTerms | None, consortium: TrialConsortium, dimension: int, listener: Listener
) -> DrivenJob:
    """Start a job's protection: its sites agree on keys, and draw their groups where there are any.

    Args:
        spec: whose aggregation it is.
        terms: what `terms_of` returned; None for one in clear.
        consortium: of the sites.
        dimension: d.
        listener: is told all messages.

    Raises:
        PolicyViolation: no layout of groups protects and bears what the job says.
        ProtocolError, FederationError: the protection does not work with these numbers.
    """
    roster, root, keys = consortium.roster, consortium.root_pem, consortium.private_keys
    if terms is None:
        sides = {name: PlainSite(dimension) for name in keys}
        return DrivenJob(PlainServer(dimension, spec.min_sites), sides, listener=listener)
    if spec.grouping is not None:
        grouped = _grouped_terms(spec, spec.grouping, terms, roster)
        members = {name: _grouped_site(grouped, consortium, name) for name in keys}
        return DrivenJob(GroupedServer(grouped, roster), members, listener=listener)
    if terms.scheme == "he":
        encrypting = {name: BfvSite(terms, roster, root, name, key) for name, key in keys.items()}
        return DrivenJob(BfvServer(terms, roster), encrypting, listener=listener)
    masking = {name: SecaggSite(terms, roster, root, name, key) for name, key in keys.items()}
    return DrivenJob(SecaggServer(terms, roster), masking, listener=listener)


def _grouped_terms(spec: JobSpec, grouping: Grouping, terms: JobTerms, roster: Roster) -> GroupedTerms:
    """Return what the sites of a grouped job hold alike."""
    colluding, byzantine = terms.num_colluding_sites, grouping.num_byzantine_sites
    layout = GroupLayout(len(terms.sites), grouping.groups, colluding, byzantine, grouping.rule)
    certificates = tuple(entry.certificate_sha256 for entry in roster.sites)
    draw = DrawTerms(spec.study, terms.sites, certificates, layout.sizes, epoch=1)
    return GroupedTerms(terms, draw, layout, grouping.l2_clip_norm, spec.privacy.sampling_prob)


def _grouped_site(terms: GroupedTerms, consortium: TrialConsortium, name: str) -> GroupedSite:
    """Return one site of a grouped job."""
    roster, root, key = consortium.roster, consortium.root_pem, consortium.private_keys[name]
    draw = SiteDraw(terms.draw, name, site_keys(roster, root, terms.job.sites), key, MemoryStore())
    return GroupedSite(terms, name, draw, lambda own: SecaggSite(own, roster, root, name, key))
