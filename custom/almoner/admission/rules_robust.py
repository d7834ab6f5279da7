"""Rules about bad members: what the job's robust rule bears, and the groups of secure aggregation."""

from almoner.admission.layout import group_layout
from almoner.admission.rule import UNSET, Question, Verdict, broken, holds, listed, of_training
from almoner.errors import PolicyViolation
from almoner.protection.groups import GroupLayout
from almoner.robust.conditions import min_rows, require
from almoner.schema.aggregation import RobustAggregation
from almoner.schema.job import JobSpec


@of_training
def rule(asked: Question, spec: JobSpec) -> Verdict:
    """The rule must bear f bad sites among all sites of the job, and among the fewest contributors of a round."""
    aggregation, sites = spec.aggregation, len(asked.request.envelope.sites)
    if not isinstance(aggregation, RobustAggregation):
        return Verdict("unset", "no robust rule over sites")
    kind, bad, pre = aggregation.rule, aggregation.num_byzantine_sites, aggregation.pre
    try:
        require(kind, sites, bad, pre)
    except PolicyViolation as error:
        finding, _, remedy = str(error).partition(" → ")
        return broken(finding, remedy)
    needed = min_rows(kind, bad, pre)
    found = f"{kind} needs {needed} contributors to bear {bad} bad ones; min_sites {spec.min_sites} of {sites}"
    return holds(found) if spec.min_sites >= needed else broken(found, f"set min_sites to at least {needed}")


@of_training
def groups(asked: Question, spec: JobSpec) -> Verdict:
    """Groups must be possible, of all sites of the study, and as many as were drawn here for the study before."""
    sites = asked.request.envelope.sites
    stored = asked.site.stored_groups.get(spec.study)
    try:
        layout = group_layout(spec, len(sites))
    except PolicyViolation as error:
        finding, _, remedy = str(error).partition(" → ")
        return broken(finding, remedy)
    if layout is None and stored is not None and spec.num_colluding_sites:
        return broken(
            f"study {spec.study} has {stored} groups, drawn once; set off against their sums, a sum over other sites "
            "would reveal individuals",
            f"set aggregation.groups to {stored}, and export the job for all sites of the study",
        )
    if layout is None:
        return Verdict("unset", "the job has no groups")
    return _study_groups(asked, layout)


def _study_groups(asked: Question, layout: GroupLayout) -> Verdict:
    """Compare a possible layout with what the site knows of the study: other groups would reveal individuals."""
    study, sites = asked.spec.study, asked.request.envelope.sites
    whole, stored = asked.site.study_sites, asked.site.stored_groups.get(study)
    if not whole:
        return broken(f"the roster does not say which sites study {study} has", "ask the operator for a new roster")
    if set(sites) != set(whole):
        others = listed(sorted(set(sites) ^ set(whole)))
        found = f"groups are of all sites of study {study}; the job and the roster differ in {others}"
        return broken(found, "export the job for all of them")
    if stored not in (None, layout.num_groups):
        return broken(
            f"study {study} has {stored} groups, drawn once; other groups of the same sites would reveal individuals",
            f"set aggregation.groups to {stored}",
        )
    found = (
        f"{layout.num_sites} sites in {layout.num_groups} groups: {layout.rule} bears {layout.num_byzantine_sites} bad"
    )
    missing = min(layout.drops_borne, layout.num_sites - asked.spec.min_sites)
    return holds(f"{found}, {layout.failed_groups_borne} failed groups, {missing} missing sites anywhere")


@of_training
def sites_per_sum(asked: Question, spec: JobSpec) -> Verdict:
    """A group's sum must be of enough sites, whoever drops out; of `min_sites` where the policy knows of no groups."""
    required = asked.site.policy.require
    try:
        layout = group_layout(spec, len(asked.request.envelope.sites))
    except PolicyViolation:
        return Verdict("unset", "the groups cannot be")
    if layout is None:
        return Verdict("unset", "the job has no groups")
    least, field = required.sites_per_sum, "min_sites_per_sum" if required.min_sites_per_sum else "min_sites"
    found = f"a group's sum may be of {layout.min_in_sum} sites, at least {least} are demanded ({field})"
    remedy = "fewer groups, or more colluding sites; or ask the site for a min_sites_per_sum"
    return holds(found) if layout.min_in_sum >= least else broken(found, remedy)


@of_training
def byzantine(asked: Question, spec: JobSpec) -> Verdict:
    """The job must bear as many bad sites as the policy demands."""
    bears, least = spec.num_byzantine_sites, asked.site.policy.require.min_byzantine_sites
    if least is None:
        return UNSET
    found = f"{spec.aggregation.kind} bears {bears} bad sites, at least {least} are demanded"
    remedy = "raise aggregation.num_byzantine_sites" if bears else "set aggregation.kind to robust, or groups"
    return holds(found) if bears >= least else broken(found, remedy)
