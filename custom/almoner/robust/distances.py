"""Squared distances of all pairs of rows, from Gram matrices in float64.

Three quarters of the time of a Krum that subtracts pair by pair goes into n²/2 passes over d entries. One matrix
product of the rows gives all distances at once, but loses those that are small beside the rows' norms. Such pairs are
found and done again with one of their rows as the origin, until none is left: rows with a large offset in common need
a second product, and so does nobody else, wherever f rows are.
"""

import numpy as np
import numpy.typing as npt

from almoner.robust.cloud import Cloud, Matrix

_TRUSTED = 2.0**-10
"""A squared distance below this part of the two squared norms is computed again about a nearer origin."""
_ROUNDING = 2.0**-53
_LANES = 4096


def squared_distances(cloud: Cloud) -> Matrix:
    """Return the squared Euclidean distance of each pair of rows.

    *Guarantee*: symmetric, with a zero diagonal; each entry has a relative error of at most `relative_error(cloud)`,
    whatever the other rows are; rows that are equal have distance 0.

    Returns:
        float64[m, m].
    """
    everyone = np.arange(cloud.num_rows)
    distances, doubtful = _about(cloud, everyone, None)
    while doubtful.any():
        centre = int(doubtful.sum(axis=0).argmax())
        members = np.append(np.flatnonzero(doubtful[centre]), centre)
        pairs = np.ix_(members, members)
        nearer, still = _about(cloud, members, centre)
        distances[pairs] = np.where(doubtful[pairs], nearer, distances[pairs])
        doubtful[pairs] &= still
    return distances


def relative_error(cloud: Cloud) -> float:
    """Return a bound on the relative error of each squared distance (Higham, *Accuracy and Stability*, Section 3.1).

    A product of width w in blocks has an error of at most (w + d/w)·2^-53 of the two squared norms, which is at most
    1/`_TRUSTED` squared distances.
    """
    width = cloud.width(8)
    return 4.0 * (width + cloud.dimension / width + 4) * _ROUNDING / _TRUSTED


def _about(cloud: Cloud, members: npt.NDArray[np.intp], centre: int | None) -> tuple[Matrix, npt.NDArray[np.bool_]]:
    """Return distances of some rows from products about one of them, or about 0, and which of them are doubtful."""
    gram = np.zeros((len(members), len(members)))
    for block in cloud.blocks(cloud.width(8)):
        part = cloud.read(block)[members].astype(np.float64)
        if centre is not None:
            part -= part[-1].copy()
        gram += part @ part.T
    norms = np.diag(gram)
    scale = norms[:, None] + norms
    distances = np.maximum(scale - 2 * gram, 0.0)
    np.fill_diagonal(distances, 0.0)
    doubtful = distances < _TRUSTED * scale
    np.fill_diagonal(doubtful, val=False)
    return distances, doubtful


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


def _halved(sums: Matrix) -> float:
    """Add up `_LANES` numbers, half onto half: elementwise addition has no order that a machine could choose."""
    while sums.size > 1:
        half = sums.size // 2
        sums = sums[:half] + sums[half:]
    return float(sums[0])
