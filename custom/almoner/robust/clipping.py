"""Rules and pre-aggregations that bound the norm of what one row can add."""

import numpy as np

from almoner.robust.cloud import Cloud, Matrix
from almoner.robust.distances import squared_distances, squared_norms
from almoner.robust.geometric_median import squared_to_point
from almoner.robust.rule import Combined, PreAggregation, Rule

CENTERED_ROUNDS = 3
_FARTHEST = 2.0**20
"""Rows of more clips than this are shortened to it first: beside theirs, other distances to the centre are lost."""


def clip_factors(norms: Matrix, l2_clip_norm: float) -> Matrix:
    """Return what to multiply rows of these norms by so that none is longer than the clip."""
    return np.minimum(1.0, l2_clip_norm / np.maximum(norms, l2_clip_norm))


class StaticClipping(PreAggregation):
    """Shorten rows that are longer than a fixed, public norm.

    *Guarantee*: no row is longer than the clip, up to float32 rounding; the same bits on every machine.

    Args:
        l2_clip_norm: the clip, in units of a row.
    """

    kind = "static_clipping"

    def __init__(self, l2_clip_norm: float) -> None:
        self.l2_clip_norm = l2_clip_norm

    def apply(self, cloud: Cloud, num_byzantine: int) -> Cloud:
        """Scale the rows."""
        factors = clip_factors(np.sqrt(squared_norms(cloud)), self.l2_clip_norm)
        return cloud.mixed(np.diag(factors)).shortening(factors < 1)


class NormClippedMean(Rule):
    """Clip each row to a fixed, public norm, and take the mean weighted by declared size.

    *Guarantee*: the result is no longer than the clip; f rows move it by at most the clip times their share of the
    sizes. It bounds a row's pull, it does not take it away.

    The report's score is the row's norm before the clip.

    Reference: Sun et al., arXiv:1911.07963, Section 4.

    Args:
        l2_clip_norm: the clip, in units of a row.
    """

    kind = "norm_clipped_mean"

    def __init__(self, num_byzantine: int, l2_clip_norm: float, pre: tuple[PreAggregation, ...] = ()) -> None:
        super().__init__(num_byzantine, pre)
        self.l2_clip_norm = l2_clip_norm

    def combine(self, cloud: Cloud, num_byzantine: int) -> Combined:
        """Average the clipped rows."""
        norms = np.sqrt(squared_norms(cloud))
        factors = clip_factors(norms, self.l2_clip_norm)
        weights = factors * cloud.sizes / cloud.sizes.sum()
        return Combined(cloud.combine(weights), weights, norms, factors < 1)


class CenteredClipping(Rule):
    """Start at zero, and three times add the mean of the rows' differences, each clipped to a fixed, public norm.

    *Guarantee*: the result is no longer than three times the clip; f rows move each step by at most f/n of it.

    The paper starts at the last round's result; this rule keeps nothing between rounds. The report's score is the
    distance to the last centre.

    Reference: Karimireddy et al., arXiv:2012.10333, Algorithm 2 and Theorem III.

    Args:
        l2_clip_norm: the clip τ, in units of a row.
    """

    kind = "centered_clipping"

    def __init__(self, num_byzantine: int, l2_clip_norm: float, pre: tuple[PreAggregation, ...] = ()) -> None:
        super().__init__(num_byzantine, pre)
        self.l2_clip_norm = l2_clip_norm

    def combine(self, cloud: Cloud, num_byzantine: int) -> Combined:
        """Move the centre, kept as weights of the rows and of the zero vector."""
        count = cloud.num_rows
        shortening = clip_factors(np.sqrt(squared_norms(cloud)), _FARTHEST * self.l2_clip_norm)
        if np.any(shortening < 1):
            cloud = cloud.mixed(np.diag(shortening))
        distances = _with_origin(cloud)
        weights = np.append(np.zeros(count), 1.0)
        for _ in range(CENTERED_ROUNDS):
            reach = np.sqrt(squared_to_point(distances, weights))[:count]
            factors = clip_factors(reach, self.l2_clip_norm)
            weights = weights * (1 - factors.mean()) + np.append(factors / count, 0.0)
        return Combined(cloud.combine(weights[:count]), shortening * weights[:count], reach, factors < 1)


def _with_origin(cloud: Cloud) -> Matrix:
    """Return the squared distances of the rows and, last, the zero vector."""
    count = cloud.num_rows
    distances = np.zeros((count + 1, count + 1))
    distances[:count, :count] = squared_distances(cloud, np.float64)
    distances[:count, count] = distances[count, :count] = squared_norms(cloud)
    return distances
