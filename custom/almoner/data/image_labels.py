"""Reads the list of an image folder, so that what becomes of a line is a function of its unit's lines alone.

`labels.csv` lies in the folder and names what counts: `record_id,unit_id,file,label`, and `split` (train or test) if
the hospital wants to say it. Other files of the folder are not looked at. Without `split`, units are split here, each
by its own id. With it, a unit that has a line of train is in train alone. Of a unit's lines, so many count as a site
may ever declare to use: what it takes to read a patient's images is bounded.
"""

import hashlib
import hmac
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from almoner.data.records import ID_COLUMN, SPLIT_COLUMN
from almoner.data.split import keep_units_whole, split_of
from almoner.errors import DataError
from almoner.schema.site import MAX_RECORDS_PER_UNIT

LABELS_FILE = "labels.csv"
UNIT_COLUMN = "unit_id"
_COLUMNS = (ID_COLUMN, UNIT_COLUMN, "file", "label")
_SPLIT_KEY = b"almoner/image folder/1"
"""Public, and the same at every site; that test records are known to be such costs no privacy."""

_CHOICE_KEY = b"almoner/lines of a unit/1"
"""Public as well: it is to choose without a look at others, not to surprise."""

MAX_CLASSES = 1000
MAX_LINES_PER_UNIT = MAX_RECORDS_PER_UNIT


@dataclass(frozen=True, slots=True)
class ImageLabel:
    """One usable line.

    Args:
        line: its number in the file, for the site's own terminal.
        record_id: as the line has it.
        unit_id: the privacy unit, in practice the patient.
        file: the image, relative to the folder, as the line has it; see `image_path`.
        label: 0, 1, ...
        split: train or test.
    """

    line: int
    record_id: str
    unit_id: str
    file: str
    label: int
    split: str


@dataclass(frozen=True, slots=True)
class ImageLabels:
    """The usable lines; the numbers of those that are not usable, and of usable ones that a unit has too many."""

    usable: tuple[ImageLabel, ...]
    unusable: tuple[int, ...]
    too_many: tuple[int, ...]


def read_image_labels(folder: Path, num_classes: int) -> ImageLabels:
    """Read the list of an image folder.

    Args:
        num_classes: a label is one of 0 … num_classes - 1.

    Raises:
        DataError: when the list is missing or has another first line.
    """
    path = folder / LABELS_FILE
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror} → correct the site's configuration") from None
    header, *lines = (tuple(field.strip() for field in line.split(",")) for line in text.split("\n"))
    if header not in (_COLUMNS, (*_COLUMNS, SPLIT_COLUMN)):
        raise DataError(f"{path}: the first line is not '{','.join(_COLUMNS)}[,{SPLIT_COLUMN}]' → write the file anew")
    read = {
        number: _read_line(number, fields, len(header), num_classes)
        for number, fields in enumerate(lines, start=2)
        if fields != ("",)
    }
    found = [label for label in read.values() if label is not None]
    stays = keep_units_whole([label.unit_id for label in found], [label.split == "test" for label in found])
    usable = [label for label, kept in zip(found, stays, strict=True) if kept]
    too_many = _beyond(usable)
    return ImageLabels(
        tuple(label for label in usable if label.line not in too_many),
        tuple(sorted(set(read) - {label.line for label in usable})),
        tuple(sorted(too_many)),
    )


def image_path(folder: Path, file: str) -> Path:
    """Return where an image lies.

    *Guarantee*: it is in the folder itself, by no `..`, no absolute path and no symbolic link.

    Raises:
        DataError: it is not, or there is nothing.
    """
    root = folder.resolve()
    try:
        found = (root / file).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        raise DataError("there is no such file") from None
    if found != root / file or root not in found.parents:
        raise DataError("the file is not in the folder itself: no '..', no absolute path, no symbolic link")
    return found


def _beyond(labels: list[ImageLabel]) -> set[int]:
    """Return the lines that a unit has too many: those whose texts have the largest keyed hashes."""
    by_unit: dict[str, list[ImageLabel]] = defaultdict(list)
    for label in labels:
        by_unit[label.unit_id].append(label)
    large = (sorted(own, key=_rank) for own in by_unit.values() if len(own) > MAX_LINES_PER_UNIT)
    return {label.line for own in large for label in own[MAX_LINES_PER_UNIT:]}


def _rank(label: ImageLabel) -> bytes:
    """Return the keyed hash of a line; its fields have no commas."""
    return hmac.digest(_CHOICE_KEY, f"{label.record_id},{label.file},{label.label}".encode(), hashlib.sha256)


def _read_line(number: int, fields: tuple[str, ...], num_fields: int, num_classes: int) -> ImageLabel | None:
    """Read one line, or nothing."""
    if len(fields) != num_fields or not all(fields):
        return None
    record_id, unit_id, file, label, *said = fields
    split = said[0] if said else split_of(unit_id, _SPLIT_KEY)
    if split not in ("train", "test") or not label.isascii() or not label.isdigit() or len(label) > 4:
        return None
    return ImageLabel(number, record_id, unit_id, file, int(label), split) if int(label) < num_classes else None
