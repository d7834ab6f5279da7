"""Reads a site's archive of images, so that what becomes of an image is a function of this image alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from almoner.data.mnist import CLASSES, SIDE
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.site_arrays import Forms, parts_of, read_arrays

_FORMS: Forms = {
    "images": ("u1", (SIDE, SIDE)),
    "labels": ("u1", ()),
    "is_test": ("b1", ()),
    "ids": ("U", ()),
}
_WHITE = 255
_BATCH = 1024


def load_site_images(path: Path, features: Callable[[Tensor], Tensor]) -> UnitData:
    """Load a site's `digits.npz`; images with one id are one unit.

    An image whose label is no digit is left out.

    Args:
        path: npz archive: images uint8[n, 28, 28], labels uint8[n], is_test bool[n], ids text[n].
        features: of images, float32[n, 28, 28] from 0 to 1, one row an image; each a function of its image alone.

    Raises:
        DataError: when the file is missing or is not such an archive.
    """
    arrays = read_arrays(path, _FORMS)
    is_digit = arrays["labels"] < CLASSES
    train, test = (_unit_records(arrays, is_digit & part, features) for part in parts_of(arrays))
    return UnitData(train=train, test=test)


def _unit_records(
    arrays: dict[str, NDArray[Any]], chosen: NDArray[np.bool_], features: Callable[[Tensor], Tensor]
) -> UnitRecords:
    """Collect the chosen images, batch by batch: features may be many times as large as images."""
    images, labels = arrays["images"][chosen], arrays["labels"][chosen].astype(np.int64)
    _, unit = np.unique(arrays["ids"][chosen], return_inverse=True)
    first = features(torch.zeros(1, SIDE, SIDE))
    found = first.new_empty(len(images), *first.shape[1:])
    for batch, target in zip(torch.split(torch.from_numpy(images), _BATCH), torch.split(found, _BATCH), strict=True):
        target.copy_(features(batch.float() / _WHITE))
    return UnitRecords(found, torch.from_numpy(labels), unit.astype(np.int64))
