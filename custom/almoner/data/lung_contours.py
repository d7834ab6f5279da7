"""Reads the outlines of lung nodules that up to four radiologists drew in each CT scan, out of LIDC-IDRI's database.

The database is SQLite, which lets a field hold anything; so each value is checked, and an outline that is not what it
should be takes its own record out, and no other. The package around the database is not imported, and the database is a
copy that is opened for reading alone.
"""

import math
import re
import sqlite3
import tempfile
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from almoner.errors import DataError

_MARKS = """SELECT a.id, a.malignancy, s.patient_id, s.slice_thickness, s.pixel_spacing
            FROM annotations AS a JOIN scans AS s ON a.scan_id = s.id ORDER BY a.id"""
_OUTLINES = "SELECT annotation_id, inclusion, image_z_position, coords FROM contours ORDER BY id"

_PATIENT = re.compile(r"LIDC-IDRI-\d{4}")
_POINTS = re.compile(r"\d{1,4},\d{1,4}(?:\n\d{1,4},\d{1,4}){2,2000}")
_THICKNESS_MM, _SPACING_MM, _HEIGHT_MM = (0.1, 10.0), (0.1, 2.0), (-10_000.0, 10_000.0)
_MAX_OUTLINES = 400


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """One closed line in one slice.

    Args:
        height_mm: of the slice.
        inside: whether it bounds the nodule, or a hole in it.
        points: int64[n, 2], row and column in pixels.
    """

    height_mm: float
    inside: bool
    points: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """What one radiologist drew and said of one nodule: a record. A patient may have many.

    Args:
        patient: the privacy unit.
        malignancy: 1, highly unlikely, to 5, highly suspicious.
        thickness_mm: of a slice.
        spacing_mm: of a pixel.
        outlines: one or more.
    """

    patient: str
    malignancy: int
    thickness_mm: float
    spacing_mm: float
    outlines: tuple[Outline, ...]


def read_annotations(database: bytes) -> list[Annotation]:
    """Return the usable annotations of the database, in its order.

    Raises:
        DataError: when it is no SQLite database with the expected tables.
    """
    with tempfile.TemporaryDirectory(prefix="almoner-nodules-") as folder:
        path = Path(folder) / "contours.sqlite"
        path.write_bytes(database)
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as opened:
                opened.text_factory = lambda raw: raw.decode(errors="replace")
                marks, lines = opened.execute(_MARKS).fetchall(), opened.execute(_OUTLINES).fetchall()
        except sqlite3.Error:
            raise DataError("nodules: not the expected database → fetch the pinned release of the data set") from None
    drawn: dict[Any, list[tuple[Any, ...]]] = defaultdict(list)
    for number, *line in lines:
        drawn[number].append(tuple(line))
    made = (_annotation(mark, drawn[mark[0]]) for mark in marks)
    return [found for found in made if found is not None]


def _annotation(mark: tuple[Any, ...], drawn: list[tuple[Any, ...]]) -> Annotation | None:
    """Return one record, None if anything in it is not what it should be."""
    _, malignancy, patient, thickness, spacing = mark
    outlines = [_outline(*line) for line in drawn[: _MAX_OUTLINES + 1]]
    usable = (
        isinstance(patient, str)
        and _PATIENT.fullmatch(patient) is not None
        and malignancy in (1, 2, 3, 4, 5)
        and _within(thickness, _THICKNESS_MM)
        and _within(spacing, _SPACING_MM)
        and len(outlines) <= _MAX_OUTLINES
        and any(line is not None and line.inside for line in outlines)
    )
    found = tuple(line for line in outlines if line is not None)
    if not usable or len(found) < len(outlines):
        return None
    return Annotation(patient, int(malignancy), float(thickness), float(spacing), found)


def _outline(inside: Any, height: Any, coords: Any) -> Outline | None:
    """Return one outline, None if it is none."""
    if inside not in (0, 1) or not _within(height, _HEIGHT_MM):
        return None
    if not isinstance(coords, str) or _POINTS.fullmatch(coords) is None:
        return None
    points = np.array(coords.replace("\n", ",").split(","), np.int64).reshape(-1, 2)
    return Outline(float(height), bool(inside), points)


def _within(value: Any, bounds: tuple[float, float]) -> bool:
    """Whether a value is a number within bounds."""
    return isinstance(value, int | float) and math.isfinite(value) and bounds[0] <= value <= bounds[1]
