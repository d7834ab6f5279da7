"""Squared distances of all pairs of rows, from matrix products instead of a subtraction a pair.

A Gram matrix gives all distances at once, but loses those that are small beside the rows' norms: rows with a large
offset in common, or near each other while somebody else's are far away. Such pairs are found and done again in float64
with one of their rows as the origin, until none is left. Origins are never means of the rows, since one row could put
a mean anywhere.
"""

import numpy as np
import numpy.typing as npt

from almoner.robust.admit import vet
from almoner.robust.cloud import Cloud, Matrix

_LANES = 4096
_FEW_ROWS = 16
_ROUNDING: dict[type, float] = {np.float32: 2.0**-24, np.float64: 2.0**-53}
_TRUSTED: dict[type, float] = {np.float32: 2.0**-4, np.float64: 2.0**-10}
"""A squared distance below this part of the sum of two squared norms is computed again about a nearer origin."""
_LEAST: dict[type, float] = {np.float32: 2.0**-80, np.float64: 0.0}
"""So is one with a lesser sum: its products may have underflowed."""
Precision = type[np.float32] | type[np.float64]


def squared_distances(cloud: Cloud, precision: Precision = np.float32) -> Matrix:
    """Return the squared Euclidean distance of each pair of rows.

    *Guarantee*: symmetric, with a zero diagonal; each entry has a relative error of at most
    `relative_error(cloud, precision)`, whatever the other rows are; just rows that are equal have distance 0.

    Args:
        cloud: m rows.
        precision: in what products of a block are computed; blocks are added up in float64.

    Returns:
        float64[m, m].

    Raises:
        NotVetted: see `vet`.
    """
    distances, doubtful = _about(cloud, np.arange(cloud.num_rows), None, precision)
    while doubtful.any():
        centre = int(doubtful.sum(axis=0).argmax())
        members = np.append(np.flatnonzero(doubtful[centre]), centre)
        pairs = np.ix_(members, members)
        nearer, still = _about(cloud, members, centre, np.float64)
        distances[pairs] = np.where(doubtful[pairs], nearer, distances[pairs])
        doubtful[pairs] &= still
    return distances


def relative_error(cloud: Cloud, precision: Precision) -> float:
    """Return a bound on the relative error of each squared distance, in whatever order the products are summed.

    A block of w columns has an error of at most w roundings of the products' absolute sum (Higham, *Accuracy and
    Stability of Numerical Algorithms*, Section 3.1), which is at most 1/`_TRUSTED` squared distances.
    """
    width = _width(cloud, precision)
    small = 4.0 * (cloud.dimension / width + 4) * _ROUNDING[np.float64]
    return (2.0 * width * _ROUNDING[precision] + small) / _TRUSTED[precision] + 2.0 * width * _ROUNDING[np.float64]


def exact_distance(cloud: Cloud, one: int, other: int) -> float:
    """Return the squared distance of two rows, summed entry by entry in an order that is the same on every machine."""
    sums = np.zeros(_LANES)
    for block in cloud.blocks(_LANES):
        rows = cloud.read(block)
        difference = rows[one].astype(np.float64) - rows[other]
        sums[: difference.size] += difference * difference
    return _halved(sums)


def squared_norms(cloud: Cloud) -> Matrix:
    """Return the squared norm of each row, float64[m], summed in an order that is the same on every machine."""
    sums = np.zeros((cloud.num_rows, _LANES))
    for block in cloud.blocks(_LANES):
        wide = cloud.read(block).astype(np.float64)
        sums[:, : wide.shape[1]] += wide * wide
    return np.array([_halved(lanes) for lanes in sums])


def _about(
    cloud: Cloud, members: npt.NDArray[np.intp], centre: int | None, precision: Precision
) -> tuple[Matrix, npt.NDArray[np.bool_]]:
    """Return distances of some rows from products about one of them, or about 0, and which of them are doubtful."""
    gram = _gram(cloud, members, centre, precision)
    norms = np.diag(gram)
    vet(cloud, norms)
    scale = norms[:, None] + norms
    distances = np.maximum(scale - (gram + gram.T), 0.0)
    np.fill_diagonal(distances, 0.0)
    doubtful = (distances < _TRUSTED[precision] * scale) | (scale < _LEAST[precision])
    np.fill_diagonal(doubtful, val=False)
    return distances, doubtful


def _gram(cloud: Cloud, members: npt.NDArray[np.intp], centre: int | None, precision: Precision) -> Matrix:
    """Return the products of some rows, less a row that is the centre."""
    gram = np.zeros((len(members), len(members)))
    width = _width(cloud, precision)
    buffer = np.empty((len(members), width), dtype=precision)
    for block in cloud.blocks(width):
        rows: npt.NDArray[np.floating] = cloud.read(block)
        if centre is not None or rows.dtype != precision:
            part = buffer[:, : rows.shape[1]]
            np.copyto(part, rows if centre is None else rows[members])
            rows = part if centre is None else np.subtract(part, rows[centre], out=part)
        if len(rows) > _FEW_ROWS:
            gram += rows @ rows.T
        else:  # of an array and its own transpose, NumPy asks for a routine that is slow for few rows
            gram[:-1] += rows[:-1] @ rows.T
            gram[-1, -1] += rows[-1] @ rows[-1]
    gram[-1, :-1] = gram[:-1, -1]
    return gram


def _width(cloud: Cloud, precision: Precision) -> int:
    """Return how many columns one product takes."""
    return min(4096, cloud.width(np.dtype(precision).itemsize))


def _halved(sums: Matrix) -> float:
    """Add up `_LANES` numbers, half onto half: elementwise addition has no order that a machine could choose."""
    while sums.size > 1:
        half = sums.size // 2
        sums = sums[:half] + sums[half:]
    return float(sums[0])
