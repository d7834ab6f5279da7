"""Coordinate-wise median and trimmed mean. Both only compare, add and scale: the same bits on every machine."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from almoner.robust.cloud import Cloud, Rows
from almoner.robust.network import reduce_columns, trimming_network
from almoner.robust.rule import Combined, Rule


class Median(Rule):
    """Take the median of each coordinate; of an even number of rows, the mean of the two in the middle.

    *Guarantee*: each coordinate lies between the least and the greatest honest one. The same bit for bit on every
    machine and in any order of the rows.

    Reference: Yin et al., arXiv:1803.01498, Definition 1.
    """

    kind = "median"

    def combine(self, cloud: Cloud, num_byzantine: int) -> Combined:
        """Sort each column as far as its middle."""
        network = trimming_network(cloud.num_rows, (cloud.num_rows - 1) // 2)
        vector = reduce_columns(cloud, network, _mean_of_two)
        return Combined(vector, np.full(cloud.num_rows, 1 / cloud.num_rows))


class TrimmedMean(Rule):
    """Take the mean of each coordinate without its f least and f greatest values.

    *Guarantee*: each coordinate lies between the least and the greatest honest one, up to rounding. The same bit for
    bit on every machine; in another order of the rows the same up to rounding.

    Reference: Yin et al., arXiv:1803.01498, Definition 2.
    """

    kind = "trimmed_mean"

    def combine(self, cloud: Cloud, num_byzantine: int) -> Combined:
        """Part the middle of each column from its ends, and average it."""
        network = trimming_network(cloud.num_rows, num_byzantine)
        vector = reduce_columns(cloud, network, partial(_mean_of_middle, cut=num_byzantine))
        return Combined(vector, np.full(cloud.num_rows, 1 / cloud.num_rows))


def _mean_of_two(rows: Sequence[Rows], out: Rows) -> None:
    """Write the median of sorted rows."""
    np.add(rows[(len(rows) - 1) // 2], rows[len(rows) // 2], out=out)
    out *= np.float32(0.5)


def _mean_of_middle(rows: Sequence[Rows], out: Rows, cut: int) -> None:
    """Write the mean of sorted rows without so many at either end."""
    kept = rows[cut : len(rows) - cut]
    out[...] = kept[0]
    for row in kept[1:]:
        out += row
    out *= np.float32(1 / len(kept))
