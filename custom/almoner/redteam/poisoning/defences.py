"""What the attacks meet: the plain sum, each robust rule with the pre-aggregations that matter, and groups."""

from almoner.experiments.defences import Defence, GroupedRule, PlainSum, RobustRule, defence_of
from almoner.schema.job import JobSpec

DEFENCES: tuple[Defence, ...] = (
    PlainSum(),
    RobustRule("krum"),
    RobustRule("multi_krum"),
    RobustRule("bulyan"),
    RobustRule("median"),
    RobustRule("trimmed_mean"),
    RobustRule("geometric_median"),
    RobustRule("centered_clipping"),
    RobustRule("norm_clipped_mean"),
    RobustRule("median", ("nearest_neighbour_mixing",)),
    RobustRule("trimmed_mean", ("nearest_neighbour_mixing",)),
    RobustRule("median", ("bucketing",)),
    RobustRule("geometric_median", ("static_clipping",)),
    GroupedRule("median", 3),
)


def defences_for(spec: JobSpec) -> tuple[Defence, ...]:
    """Return all of `DEFENCES`, and the job's own if it is none of them."""
    own = defence_of(spec)
    return DEFENCES if own in DEFENCES else (*DEFENCES, own)
