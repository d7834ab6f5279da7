"""Krum and Multi-Krum: the rows that are nearest to their nearest neighbours."""

import math

import numpy as np

from almoner.robust.cloud import Cloud, Matrix
from almoner.robust.distances import exact_distance, relative_error, squared_distances
from almoner.robust.rule import Combined, Rule


def krum_scores(distances: Matrix, num_byzantine: int) -> Matrix:
    """Return each row's sum of squared distances to its n − f − 2 nearest others, at least one.

    Args:
        distances: float64[n, n], squared, the diagonal zero.
        num_byzantine: f.
    """
    return np.asarray(distances_to_others(distances)[:, : max(1, len(distances) - num_byzantine - 2)].sum(axis=1))


def distances_to_others(distances: Matrix) -> Matrix:
    """Return each row's squared distances to the others, the least first, and infinity."""
    return np.sort(distances + np.diag(np.full(len(distances), np.inf)), axis=1)


class Krum(Rule):
    """Take the row whose n − f − 2 nearest others are nearest.

    *Guarantee*: the result is one of the rows, and has an honest row within √(n−f−2) honest diameters. It is the same
    bit for bit on every machine and in any order of the rows, unless rows were mixed before: the scores from the matrix
    product decide only where they are further apart than their rounding errors; else sums in a fixed order do.

    The report's score is Krum's, a sum of squared distances.

    Reference: Blanchard et al., NeurIPS 2017, Proposition 4.2.
    """

    kind = "krum"
    begins_with_norms = True

    def combine(self, cloud: Cloud, num_byzantine: int) -> Combined:
        """Take one row."""
        distances = squared_distances(cloud, np.float64)
        scores = krum_scores(distances, num_byzantine)
        margin = relative_error(cloud, np.float64) * scores
        nearest = np.flatnonzero(scores - margin <= (scores + margin).min())
        distinct = [int(i) for i in nearest if not np.any(distances[i, nearest[nearest < i]] == 0)]
        chosen = distinct[0] if len(distinct) == 1 else _first_exactly(cloud, distinct, num_byzantine)
        weights = np.zeros(cloud.num_rows)
        weights[chosen] = 1.0
        return Combined(cloud.combine(weights), weights, scores)


class MultiKrum(Rule):
    """Take the mean of the n − f rows with the least Krum scores, weighted by declared size.

    *Guarantee*: the result lies within 1 + √(n−f−2) honest diameters of every honest row. Rows of equal score are
    taken in their order. n − f rows are as many as Byzantine ones leave over.

    The report's score is Krum's.

    Reference: Blanchard et al., NeurIPS 2017, Section 5; a proof is in Bareilles et al., arXiv:2602.03899.
    """

    kind = "multi_krum"
    begins_with_norms = True

    def combine(self, cloud: Cloud, num_byzantine: int) -> Combined:
        """Average the chosen rows."""
        scores = krum_scores(squared_distances(cloud), num_byzantine)
        chosen = np.argsort(scores, kind="stable")[: cloud.num_rows - num_byzantine]
        weights = np.zeros(cloud.num_rows)
        weights[chosen] = cloud.sizes[chosen] / cloud.sizes[chosen].sum()
        return Combined(cloud.combine(weights), weights, scores)


def _first_exactly(cloud: Cloud, candidates: list[int], num_byzantine: int) -> int:
    """Return the best of some rows by scores that are the same everywhere; of equal ones the least row."""
    scores = {index: _exact_score(cloud, index, num_byzantine) for index in candidates}
    best = [index for index in candidates if scores[index] == min(scores.values())]
    least = best[0]
    for index in best[1:]:
        least = index if _is_less(cloud, index, least) else least
    return least


def _exact_score(cloud: Cloud, index: int, num_byzantine: int) -> float:
    """Return a row's Krum score from exact distances."""
    others = (other for other in range(cloud.num_rows) if other != index)
    distances = sorted(exact_distance(cloud, index, other) for other in others)
    return math.fsum(distances[: cloud.num_rows - num_byzantine - 2])


def _is_less(cloud: Cloud, one: int, other: int) -> bool:
    """Tell whether a row comes before another, entry by entry."""
    for block in cloud.blocks(cloud.width(4)):
        rows = cloud.read(block)
        if (differing := np.flatnonzero(rows[one] != rows[other])).size:
            return bool(rows[one][differing[0]] < rows[other][differing[0]])
    return False
