"""A made-up database of outlines, as the source has them, and clinics' files of it."""

import io
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from almoner.data.split import SplitRule, split_of

SPLIT: SplitRule = partial(split_of, key=b"test")
THICKNESS = (1.0, 2.0, 2.5, 3.0)

Row = tuple[Any, ...]


def square(middle: int, half: int) -> str:
    """Return an outline's text: the corners of a square."""
    low, high = middle - half, middle + half
    return "\n".join(f"{row},{column}" for row, column in ((low, low), (low, high), (high, high), (high, low)))


def tables(patients: int = 8, records: int = 3) -> dict[str, list[Row]]:
    """Return scans, annotations and contours: each patient has one scan, each record three slices."""
    scans = [(p, f"LIDC-IDRI-{p:04}", THICKNESS[p % 4], 0.7) for p in range(1, patients + 1)]
    marks: list[Row] = [(100 * p + r, p, 1 + (p + r) % 5) for p in range(1, patients + 1) for r in range(records)]
    lines: list[Row] = []
    for number, scan, _ in marks:
        thickness = THICKNESS[scan % 4]
        lines += [
            (number, 1, -100.0 + layer * thickness, square(200 + number % 7, 4 + number % 5)) for layer in range(3)
        ]
    return {"scans": scans, "annotations": marks, "contours": lines}


def database(folder: Path, rows: dict[str, list[Row]]) -> bytes:
    """Write a database with the source's columns, which may hold anything."""
    path = folder / "made.sqlite"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE scans (id INTEGER, patient_id, slice_thickness, pixel_spacing)")
        made.execute("CREATE TABLE annotations (id INTEGER, scan_id INTEGER, malignancy)")
        made.execute(
            "CREATE TABLE contours (id INTEGER PRIMARY KEY, annotation_id INTEGER, inclusion, image_z_position, coords)"
        )
        made.executemany("INSERT INTO scans VALUES (?, ?, ?, ?)", rows["scans"])
        made.executemany("INSERT INTO annotations VALUES (?, ?, ?)", rows["annotations"])
        made.executemany("INSERT INTO contours VALUES (NULL, ?, ?, ?, ?)", rows["contours"])
    made.close()
    return path.read_bytes()


def arrays_of(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of a clinic's file."""
    with np.load(io.BytesIO(content), allow_pickle=False) as read:
        return {name: read[name] for name in read.files}
