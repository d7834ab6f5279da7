"""Bulyan: rows chosen by Krum again and again, then in each coordinate the mean of the values nearest to the median."""

from collections.abc import Sequence
from functools import partial, reduce

import numpy as np

from almoner.robust.cloud import Cloud, Matrix, Rows
from almoner.robust.distances import squared_distances
from almoner.robust.krum import distances_to_others, krum_scores
from almoner.robust.network import full_network, reduce_columns
from almoner.robust.rule import Combined, Rule


class Bulyan(Rule):
    """Choose n − 2f rows by repeated Krum, then average in each coordinate the n − 4f values nearest to their median.

    *Guarantee*: each coordinate lies within the honest ones' range, widened by its own width on both sides.

    Of rows with equal scores, the one with the nearer neighbours is chosen. With f ≤ 2 the last choices have one
    neighbour to go by, so that two rows which are each other's nearest are always equal; Flower takes the one that was
    sent first. The report's score is Krum's among all rows.

    Reference: El Mhamdi et al., arXiv:1802.07927, Section 4.
    """

    kind = "bulyan"
    begins_with_norms = True

    def combine(self, cloud: Cloud, num_byzantine: int) -> Combined:
        """Choose rows, then reduce their columns."""
        distances = squared_distances(cloud)
        chosen = _choose(distances, num_byzantine)
        finish = partial(_mean_near_median, count=len(chosen) - 2 * num_byzantine)
        vector = reduce_columns(cloud.taking(chosen), full_network(len(chosen)), finish)
        weights = np.zeros(cloud.num_rows)
        weights[chosen] = 1 / len(chosen)
        return Combined(vector, weights, krum_scores(distances, num_byzantine))


def _choose(distances: Matrix, num_byzantine: int) -> list[int]:
    """Return the n − 2f rows that Krum takes one after the other, each time among those left."""
    left = list(range(len(distances)))
    chosen = []
    for _ in range(len(distances) - 2 * num_byzantine):
        among = distances[np.ix_(left, left)]
        ranks = np.column_stack([krum_scores(among, num_byzantine), distances_to_others(among)])
        chosen.append(left.pop(int(np.lexsort(ranks.T[::-1])[0])))
    return sorted(chosen)


def _mean_near_median(rows: Sequence[Rows], out: Rows, count: int) -> None:
    """Write the mean of the `count` values nearest to the median: that window of the sorted column which reaches least.

    The rows that are in every window are added up once.
    """
    median = (rows[(len(rows) - 1) // 2] + rows[len(rows) // 2]) * np.float32(0.5)
    last = len(rows) - count
    core = [reduce(np.add, rows[last:count])] if last < count else []
    best: Rows | None = None
    for start in range(last + 1):
        beside = [*rows[start:last], *rows[count : start + count]] if core else rows[start : start + count]
        total = reduce(np.add, [*core, *beside])
        reach = np.maximum(median - rows[start], rows[start + count - 1] - median)
        if best is None:
            best = reach
            out[...] = total
        else:
            np.copyto(out, total, where=reach < best)
            np.minimum(best, reach, out=best)
    out *= np.float32(1 / count)
