"""Rules by name."""

import math
from collections.abc import Callable

from almoner.errors import PolicyViolation
from almoner.robust.bulyan import Bulyan
from almoner.robust.clipping import CenteredClipping, NormClippedMean, StaticClipping
from almoner.robust.elementwise import Median, TrimmedMean
from almoner.robust.geometric_median import GeometricMedian
from almoner.robust.krum import Krum, MultiKrum
from almoner.robust.mixing import Bucketing, NearestNeighbourMixing
from almoner.robust.rule import PreAggregation, Rule
from almoner.schema.aggregation import PreAggregationKind, RuleKind

_PLAIN: dict[RuleKind, Callable[[int, tuple[PreAggregation, ...]], Rule]] = {
    rule.kind: rule for rule in (Krum, MultiKrum, Bulyan, Median, TrimmedMean, GeometricMedian)
}
_CLIPPED: dict[RuleKind, Callable[[int, float, tuple[PreAggregation, ...]], Rule]] = {
    rule.kind: rule for rule in (CenteredClipping, NormClippedMean)
}


def make_rule(
    kind: RuleKind,
    num_byzantine: int,
    pre: tuple[PreAggregationKind, ...] = (),
    l2_clip_norm: float | None = None,
    seed: bytes = b"",
) -> Rule:
    """Return a rule.

    Args:
        kind: which one.
        num_byzantine: f, how many rows may be anything.
        pre: pre-aggregations, applied in this order.
        l2_clip_norm: what static_clipping, centered_clipping and norm_clipped_mean clip to, in units of a row.
        seed: what bucketing draws buckets from: public, and other for each round.

    Raises:
        PolicyViolation: the clip is missing or no positive number, or bucketing has no seed.
    """
    steps = tuple(_make_step(step, l2_clip_norm, seed) for step in pre)
    if (clipped := _CLIPPED.get(kind)) is not None:
        return clipped(num_byzantine, _clip(kind, l2_clip_norm), steps)
    return _PLAIN[kind](num_byzantine, steps)


def _make_step(kind: PreAggregationKind, l2_clip_norm: float | None, seed: bytes) -> PreAggregation:
    """Return a pre-aggregation."""
    if kind == "static_clipping":
        return StaticClipping(_clip(kind, l2_clip_norm))
    if kind == "nearest_neighbour_mixing":
        return NearestNeighbourMixing()
    if not seed:
        raise PolicyViolation("bucketing: no seed → a public one of each round")
    return Bucketing(seed)


def _clip(kind: str, l2_clip_norm: float | None) -> float:
    """Return the clip, which a rule of this kind needs."""
    if l2_clip_norm is None or not 0 < l2_clip_norm < math.inf:
        raise PolicyViolation(f"{kind}: l2_clip_norm {l2_clip_norm} → a positive number")
    return l2_clip_norm
