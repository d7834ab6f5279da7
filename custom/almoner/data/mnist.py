"""Reads MNIST as five post offices hold it: 70,000 handwritten digits of 28 × 28 grey pixels, split as published.

The source has no post offices. An image's office is a declared function of its id and label alone. Of each digit an
office has a share, drawn once from a symmetric Dirichlet distribution over the offices (α = 0.5; the skew of
arXiv:1909.06335) with a seed that stands here; a keyed hash of the id chooses the office by these shares. So offices
differ in size (four to one) and in digits, and the test images of an office are as skewed as its training images.

The source has no ids either: an image's is its part and its place in it, such as train-00017.
"""

import hashlib
import hmac
import io
import math
from bisect import bisect_right
from itertools import accumulate
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from almoner.data.archive import Members
from almoner.data.split import SplitRule
from almoner.errors import DataError

SITES = tuple(f"post-office-{number}" for number in range(1, 6))

SIDE = 28
"""Pixels a side."""

CLASSES = 10

SHARES_SEED = 1
"""Which draw of the shares. With it the smallest office has 4,916 training images, the largest 20,534."""

_FOLDER, _SUFFIX = "package/data/", "-ubyte"
_PARTS = {"train": "train", "t10k": "test"}

MEMBERS = tuple(f"{_FOLDER}{part}-{kind}{_SUFFIX}" for part in _PARTS for kind in ("images-idx3", "labels-idx1"))

_OFFICE_KEY = b"almoner/mnist/office/1"


def class_shares(seed: int) -> tuple[tuple[float, ...], ...]:
    """Draw for each digit the share of every office, from Dirichlet(½, …, ½).

    A squared normal variable is twice a Gamma(½) variable, and such variables over their sum are Dirichlet(½). The
    normal ones are quantiles of bytes of SHAKE-256, so that the shares are the same on every machine.
    """
    number = CLASSES * len(SITES)
    drawn = np.frombuffer(hashlib.shake_256(b"almoner/mnist/shares/%d" % seed).digest(8 * number), ">u8")
    quantile = NormalDist().inv_cdf
    squares = [quantile((int(value) + 0.5) / 2**64) ** 2 for value in drawn]
    rows = (squares[start : start + len(SITES)] for start in range(0, number, len(SITES)))
    return tuple(tuple(square / sum(row) for square in row) for row in rows)


_EDGES = tuple(tuple(accumulate(shares))[:-1] for shares in class_shares(SHARES_SEED))


def site_of(record_id: str, label: int) -> str:
    """Return the office that an image is at; a function of its two arguments.

    Args:
        record_id: the image.
        label: its digit, 0 to 9.
    """
    tag = hmac.digest(_OFFICE_KEY, record_id.encode(), hashlib.sha256)
    return SITES[bisect_right(_EDGES[label], int.from_bytes(tag[:8], "big") / 2**64)]


def mnist_files(members: Members, split: SplitRule) -> dict[str, bytes]:
    """Render each office's file: an uncompressed npz archive of images, labels, is_test and ids.

    Args:
        members: the files of MEMBERS, in the source's idx format.
        split: not used; the source says what is for tests.

    Raises:
        DataError: when a member is not what it should be.
    """
    parts = [_read_part(members, "train"), _read_part(members, "t10k")]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    labelled = zip(arrays["ids"].tolist(), arrays["labels"].tolist(), strict=True)
    sites = np.array([site_of(record_id, label) for record_id, label in labelled])
    return {site: _render({name: array[sites == site] for name, array in arrays.items()}) for site in SITES}


def _read_part(members: Members, part: str) -> dict[str, NDArray[Any]]:
    """Read the arrays of a part of the source."""
    images = _read_idx(members, f"{part}-images-idx3", (SIDE, SIDE))
    labels = _read_idx(members, f"{part}-labels-idx1", ())
    if len(images) != len(labels) or labels.max(initial=0) >= CLASSES:
        raise DataError(f"{part}: images and labels do not match → fetch the pinned release of the data set")
    name = _PARTS[part]
    ids = np.array([f"{name}-{number:05}" for number in range(len(labels))])
    return {"images": images, "labels": labels, "is_test": np.full(len(labels), name == "test"), "ids": ids}


def _read_idx(members: Members, file: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read uint8[n, ...] from the idx format: a number that tells type and dimensions, the sizes, the values."""
    content = members[_FOLDER + file + _SUFFIX]
    start = 4 * (2 + len(shape))
    magic, size, *rest = [int(word) for word in np.frombuffer(content[:start], ">u4")] or [0, 0]
    if (magic, *rest) != (0x0801 + len(shape), *shape) or len(content) != start + size * math.prod(shape):
        raise DataError(f"{file}: not the expected idx file → fetch the pinned release of the data set")
    return np.frombuffer(content, np.uint8, offset=start).reshape(size, *shape)


def _render(arrays: dict[str, NDArray[Any]]) -> bytes:
    """Write an npz archive; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
