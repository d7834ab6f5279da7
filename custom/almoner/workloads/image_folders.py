"""Loads a site's folder of medical images (NIfTI or DICOM) for a workload, so that a bad file touches its record alone.

A record whose file cannot be read is left out, as a line of a table would be. It does not become a black image: that
would teach the model a label for nothing. Either way no other record changes, and nobody is told: not by an error, not
by a line in a log. `almoner site check-images` tells the site itself.
"""

from pathlib import Path

import torch
from torch import Tensor

from almoner.data.image_labels import ImageLabel, image_path, read_image_labels
from almoner.errors import DataError
from almoner.schema.images import ImageFolder
from almoner.training.units import UnitData, UnitRecords, number_units

_UNREADABLE = "not a file of its kind, or damaged"
_SIDES = {"L": 1, "R": 1, "P": 2, "A": 2, "I": 3, "S": 3}


def load_image_folder(
    path: Path, images: ImageFolder, *, shape: tuple[int, ...], num_classes: int, axes: str = "PLS"
) -> UnitData:
    """Load the images that a folder's `labels.csv` names; images of one unit id are one unit.

    *Guarantee*: what becomes of a record is a function of its unit's lines and its own file, and of a unit no more than
    MAX_LINES_PER_UNIT files are read. No content of an image
    raises an error or is logged, and of a file nothing but its pixels is kept, placed by its geometry.

    Args:
        path: the folder.
        images: what the site declares of it.
        shape: of one record, in the order of `axes`: two sizes, or three. For two, a volume gives its middle slice.
        num_classes: labels are 0 … num_classes - 1.
        axes: where the three axes point to. PLS is a picture as it is looked at (rows to the back, columns to the
            patient's left), and slices upwards.

    Returns:
        Features float32[n, *shape] from 0 to 1, targets int64[n].

    Raises:
        DataError: when the folder has no such list, or shape and axes are none. Local; never sent.
    """
    if len(shape) not in (2, 3) or sorted(_SIDES.get(axis, 0) for axis in axes) != [1, 2, 3]:
        raise DataError(f"image folder: shape {shape}, axes {axes} → give two or three sizes, and axes such as PLS")
    parts: dict[str, list[tuple[ImageLabel, Tensor]]] = {"train": [], "test": []}
    for label in read_image_labels(path, num_classes).usable:
        found = read_or_reason(path, label, images, shape, axes)
        if isinstance(found, Tensor):
            parts[label.split].append((label, found))
    return UnitData(train=_unit_records(parts["train"], shape), test=_unit_records(parts["test"], shape))


def read_or_reason(
    path: Path, label: ImageLabel, images: ImageFolder, shape: tuple[int, ...], axes: str
) -> Tensor | str:
    """Read one image, or say what is wrong with it in words that do not quote it; see `load_image_folder`."""
    from almoner.workloads.image_reading import read_image  # MONAI takes seconds to import

    try:
        return read_image(image_path(path, label.file), images, shape, axes)
    except DataError as error:
        return str(error)
    except Exception:  # noqa: BLE001 - a file can break a parser in any way, and may break no more than its own record
        return _UNREADABLE


def _unit_records(rows: list[tuple[ImageLabel, Tensor]], shape: tuple[int, ...]) -> UnitRecords:
    """Collect records; those with one unit id are one unit."""
    features = torch.stack([image for _, image in rows]) if rows else torch.zeros(0, *shape)
    targets = torch.tensor([label.label for label, _ in rows], dtype=torch.int64)
    return UnitRecords(features, targets, number_units([label.unit_id for label, _ in rows]))
