"""Which images show the same: the rule by which copies of a scan become one privacy unit, before anything is split.

Two images are near-duplicates if the correlation of their pixels is above 0.98, as they are or mirrored (left to right,
top to bottom, or both, which is half a turn). A group is what such pairs connect: everything that its images are near
to is in it. A group is thus a function of all images: it is found once, frozen, and then it *is* the unit.

What the rule does not see: other slices of the same patient, crops, other contrasts, turns by other angles.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from almoner.errors import DataError

THRESHOLD = 0.98
MIRRORINGS: tuple[tuple[int, ...], ...] = ((), (2,), (1,), (1, 2))
"""The axes of uint8[n, rows, columns] that are turned round."""


def likeness(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the largest correlation of each image with each other one over all mirrorings, float32[n, m].

    Args:
        images: uint8[n, r, c].
        others: uint8[m, r, c].
    """
    rows = _normalised(images)
    found = np.full((len(images), len(others)), -1.0, np.float32)
    for axes in MIRRORINGS:
        np.maximum(found, rows @ _normalised(np.flip(others, axes)).T, out=found)
    return found


def duplicate_groups(images: NDArray[np.uint8]) -> list[list[int]]:
    """Group images, uint8[n, r, c]: the places of each group's images, groups in the order of their first image."""
    _, group = connected_components(csr_array(likeness(images, images) > THRESHOLD), directed=False)
    return [np.flatnonzero(group == number).tolist() for number in range(group.max(initial=-1) + 1)]


def verify_no_leak(train: NDArray[np.uint8], test: NDArray[np.uint8]) -> None:
    """Check that no test image is a near-duplicate of a training image.

    Args:
        train: uint8[n, r, c], the training images of all sites.
        test: uint8[m, r, c].

    Raises:
        DataError: some are; of private images, the text is private.
    """
    leaked = int((likeness(test, train) > THRESHOLD).any(axis=1).sum())
    if leaked:
        raise DataError(
            f"split: {leaked} of {len(test)} test images have a near-duplicate in training → split by group, not image"
        )


def _normalised(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return images as rows of mean 0 and norm 1, float32[n, r·c]; a blank one as zeros."""
    rows = images.reshape(len(images), math.prod(images.shape[1:])).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return rows
