"""What a job bears that bad or missing sites do: its layout of groups, or its robust rule, and the lines about it."""

from almoner.errors import PolicyViolation
from almoner.protection.groups import GroupLayout
from almoner.robust.conditions import require
from almoner.schema.aggregation import RobustAggregation
from almoner.schema.job import JobSpec


def group_layout(spec: JobSpec, num_sites: int) -> GroupLayout | None:
    """Return the groups of a grouped job for so many sites; None for every other job.

    Raises:
        PolicyViolation: the layout is not possible.
    """
    if (grouping := spec.grouping) is None:
        return None
    return GroupLayout(
        num_sites, grouping.groups, spec.num_colluding_sites, grouping.num_byzantine_sites, grouping.rule
    )


def robustness_lines(spec: JobSpec, num_sites: int) -> tuple[str, ...]:
    """Return what `almoner job plan` prints about bad and missing sites; nothing for a job that bears none.

    A job that cannot be gets no lines either: its refusal says why.
    """
    asked = spec.aggregation
    try:
        layout = group_layout(spec, num_sites)
        if layout is not None:
            return layout.describe(spec.min_sites)
        if not isinstance(asked, RobustAggregation):
            return ()
        require(asked.rule, spec.min_sites, asked.num_byzantine_sites, asked.pre)
    except PolicyViolation:
        return ()
    rule = asked.rule + (f" after {' and '.join(asked.pre)}" if asked.pre else "")
    bad, missing = asked.num_byzantine_sites, num_sites - spec.min_sites
    return (
        f"attackers: {rule} bears {bad} of {num_sites} sites that may send anything, and as many "
        f"of {spec.min_sites} contributors",
        f"drops: bears {missing} of {num_sites} sites, so that min_sites={spec.min_sites} are left"
        + (f"; {missing + 1} bad ones that stay silent end the job" if missing < bad else ""),
        "price: the server sees each site's noised update",
    )
