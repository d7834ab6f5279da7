"""The geometric median: the point with the least sum of distances, found in the space of weights alone."""

import numpy as np

from almoner.robust.cloud import Cloud, Matrix
from almoner.robust.distances import squared_distances
from almoner.robust.rule import Combined, Rule

_ROUNDS = 1000
_CONVERGED = 1e-12
_NEAREST = 1e-12
"""Least distance that a weight is computed from, relative to the rows' typical distance (RFA's ν)."""
_FARTHEST = 2.0**20
"""Rows at more typical distances than this from most others have no part: beside theirs, other distances are lost."""
_FAR = 8.0
"""From so many typical distances on, products in float32 are not exact enough."""


class GeometricMedian(Rule):
    """Take the point with the least sum of distances to the rows (RFA).

    *Guarantee*: the result lies within 2(n−f)/(n−2f) honest radii of the honest mean, up to the iteration's rounding.

    Weiszfeld's iteration keeps its point as weights of the rows, so that after one matrix of distances it costs n²
    a round, and converges instead of stopping after three. Rows a million times as far from most others as most rows
    are have no part: beside their products, the others' distances would be lost. The report's score is the distance to
    the result.

    Reference: Pillutla et al., arXiv:1912.13445, Algorithm 2.
    """

    kind = "geometric_median"
    begins_with_norms = True

    def combine(self, cloud: Cloud, num_byzantine: int) -> Combined:
        """Find weights, and average with them."""
        distances = squared_distances(cloud)
        typical = typical_distances(distances)
        if typical.max() > _FAR * np.median(typical):
            distances = squared_distances(cloud, np.float64)
        near = np.flatnonzero(typical <= _FARTHEST * np.median(typical))
        weights = np.zeros(cloud.num_rows)
        weights[near] = weiszfeld(distances[np.ix_(near, near)])
        return Combined(cloud.combine(weights), weights, np.sqrt(squared_to_point(distances, weights)))


def typical_distances(distances: Matrix) -> Matrix:
    """Return each row's median distance to all.

    Args:
        distances: float64[m, m], squared.
    """
    return np.sqrt(np.sort(distances, axis=1)[:, len(distances) // 2])


def weiszfeld(distances: Matrix) -> Matrix:
    """Return the weights, which sum to 1, of the geometric median.

    The first weights are the inverse of each row's typical distance: the iteration starts among the majority, wherever
    the others are.

    Args:
        distances: float64[m, m], squared.
    """
    typical = typical_distances(distances)
    floor = max(_NEAREST * float(np.median(typical)), 1e-300)
    weights = _normalised(typical, floor)
    for _ in range(_ROUNDS):
        updated = _normalised(np.sqrt(squared_to_point(distances, weights)), floor)
        change = float(np.abs(updated - weights).sum())
        weights = updated
        if change < _CONVERGED:
            break
    return weights


def squared_to_point(distances: Matrix, weights: Matrix) -> Matrix:
    """Return the squared distance of each row to a weighted mean of the rows: D·w − w·D·w/2.

    Args:
        distances: float64[m, m], squared.
        weights: float64[m], summing to 1.
    """
    to_rows = distances @ weights
    return np.maximum(to_rows - 0.5 * (weights @ to_rows), 0.0)


def _normalised(distances: Matrix, floor: float) -> Matrix:
    """Return weights that are inverse to distances and sum to 1."""
    inverse = 1 / np.maximum(distances, floor)
    return np.asarray(inverse / inverse.sum())
