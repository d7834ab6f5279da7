"""The robust step over groups: from the groups' sums to the one sum that every site takes its step along.

A group's mean is its sum · step / (q · N), with N the declared size of its contributors; it is cut to `l2_clip_norm`,
and the layout's rule combines the means. Every site computes this itself, and so does the server for its report.

*Guarantee*: the same sums give the same bits on every machine. The norm is the root of an integer that is summed
exactly; a mean is one float64 product an entry, rounded once to float32; the rules are elementwise, or choose a row.
Sums are of integers: no mean is infinite or not a number.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from almoner.errors import ProtocolError
from almoner.protection.scheme import IntVector
from almoner.robust.cloud import Rows
from almoner.robust.rows import integer_total
from almoner.robust.rules import make_rule
from almoner.secagg.blocks import blocks
from almoner.secagg.grouping import DrawnGroups, Names

_LARGEST_SUM = 2**23
"""Of an entry: far above 50 sites of 16 bits; a block's squares then sum up within int64."""


@dataclass(frozen=True)
class GroupSum:
    """A group's part of a round's total.

    Args:
        sites: whose values are in it, in roster order.
        values: int64[d].
    """

    sites: Names
    values: IntVector


def robust_total(grouping: DrawnGroups, sums: dict[int, GroupSum]) -> tuple[IntVector, dict[str, Any]]:
    """Return the sum that stands for the combined means, and the rule's report.

    Args:
        sums: of the groups that did not fail, by place.

    Raises:
        ProtocolError: more groups failed than the layout bears.
    """
    terms, layout = grouping.terms, grouping.terms.layout
    if not layout.bears(failed := len(grouping.groups) - len(sums)):
        raise ProtocolError(f"{failed} groups failed, and the layout bears {layout.failed_groups_borne}")
    rows: Rows = np.empty((len(sums), terms.job.dimension), dtype=np.float32)
    sizes = np.array([terms.size(found.sites) for found in sums.values()], dtype=np.float64)
    norms = []
    for row, size, found in zip(rows, sizes, sums.values(), strict=True):
        scale = terms.job.step / (terms.sampling_prob * float(size))
        norm = scale * exact_norm(found.values)
        norms.append(norm)
        factor = scale * min(1.0, terms.l2_clip_norm / norm) if norm > 0 else scale
        np.multiply(found.values, factor, out=row, casting="unsafe", dtype=np.float64)
    combined = make_rule(layout.rule, layout.num_byzantine_sites).aggregate(rows, sizes)
    report = combined.report.to_json()
    report["sites"] = [list(found.sites) for found in sums.values()]
    report["clipped"] = [norm > terms.l2_clip_norm for norm in norms]
    return integer_total(combined.vector, float(sizes.sum()), terms.job.step, terms.sampling_prob), report


def exact_norm(values: IntVector) -> float:
    """Return the L2 norm of integers, the same on every machine.

    Args:
        values: int64[d], each within ±2^23.

    Raises:
        ProtocolError: an entry is larger.
    """
    squares = 0
    for block in blocks(values.size):
        part = values[block]
        if np.abs(part).max() > _LARGEST_SUM:
            raise ProtocolError("group mean: an entry is larger than any sum of sites: report this")
        squares += int(np.dot(part, part))
    return math.sqrt(squares)
