"""The two sides of robust aggregation: in clear, and of secret sharing in groups."""

from almoner.flare.site.group_files import DrawFiles, draw_terms
from almoner.flare.site.site_files import SiteFiles
from almoner.protection.certificates import site_keys
from almoner.protection.draw_site import SiteDraw
from almoner.protection.groups import GroupLayout
from almoner.protection.robust_plain import RobustServer, RobustTerms
from almoner.protection.set_up import JobTerms
from almoner.robust.rule import Rule
from almoner.robust.rules import make_rule
from almoner.schema.aggregation import Grouping, RobustAggregation
from almoner.schema.consortium import Roster
from almoner.schema.job import JobSpec
from almoner.secagg.group_server import GroupedServer
from almoner.secagg.group_site import GroupedSite
from almoner.secagg.grouping import GroupedTerms
from almoner.secagg.site import SecaggSite
from almoner.training.grid import UpdateGrid


def robust_server(
    spec: JobSpec,
    asked: RobustAggregation,
    sizes: dict[str, int],
    dimension: int,
    grid: UpdateGrid,
    least_energy: float,
) -> RobustServer:
    """Return the server that combines updates in clear.

    Args:
        sizes: declared sizes of the job's sites, in roster order.
        least_energy: what an update with its noise has, in grid steps squared.
    """

    def rule(seed: bytes) -> Rule:
        return make_rule(asked.rule, asked.num_byzantine_sites, asked.pre, asked.l2_clip_norm, seed)

    prob = spec.privacy.sampling_prob
    return RobustServer(RobustTerms(sizes, dimension, spec.min_sites, grid.step, prob, rule, least_energy))


def grouped_terms(spec: JobSpec, grouping: Grouping, job: JobTerms, roster: Roster) -> GroupedTerms:
    """Return what the sites of a grouped job hold alike.

    Raises:
        PolicyViolation: no such layout protects and bears what it says.
    """
    layout = GroupLayout(
        len(job.sites), grouping.groups, job.num_colluding_sites, grouping.num_byzantine_sites, grouping.rule
    )
    draw = draw_terms(roster, spec.study, job.sites, layout.sizes)
    return GroupedTerms(job, draw, layout, grouping.l2_clip_norm, spec.privacy.sampling_prob)


def grouped_server(spec: JobSpec, grouping: Grouping, job: JobTerms, roster: Roster) -> GroupedServer:
    """Return the server's side of secret sharing in groups."""
    return GroupedServer(grouped_terms(spec, grouping, job, roster), roster)


def grouped_site(site: SiteFiles, spec: JobSpec, grouping: Grouping, job: JobTerms) -> GroupedSite:
    """Return a site's side of secret sharing in groups; its part of the draw lies beside its ledger."""
    name, root, key = site.policy.site, site.root_ca.read_bytes(), site.private_key()
    terms = grouped_terms(spec, grouping, job, site.roster)
    keys = site_keys(site.roster, root, job.sites)
    draw = SiteDraw(terms.draw, name, keys, key, DrawFiles(site, spec.study))
    return GroupedSite(terms, name, draw, lambda own: SecaggSite(own, site.roster, root, name, key))
