"""Reads a site's CSV file line by line, so that what becomes of a record is a function of its unit's lines.

A line that has no id or split, or not the right number of fields, is left out. Lines with one id are one unit. A file
without a column for the split is split here, each unit by its own id; with it, a unit that has a line of train is in
train alone.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from almoner.data.records import ID_COLUMN, SPLIT_COLUMN
from almoner.data.split import keep_units_whole, split_of
from almoner.errors import DataError
from almoner.training.units import UnitData, UnitRecords, number_units

Example = tuple[list[float], float]
"""The features and the target of one record."""

_Row = tuple[str, bool, Example]
"""Unit, whether it is for tests, and what is made of it."""

_SPLIT_KEY = b"almoner/site table/1"
"""Public, and the same at every site; that test records are known to be such costs no privacy."""


def load_site_table(
    path: Path, columns: tuple[str, ...], num_features: int, encode: Callable[[dict[str, str]], Example | None]
) -> UnitData:
    """Load a site's file.

    Args:
        path: CSV without quoting: record id, split (may be left out), then the columns.
        columns: in the order of the file.
        num_features: how many features a record has.
        encode: makes an example of raw text by column name, None where the record is not usable; total.

    Raises:
        DataError: when the file is missing or has another first line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror} → correct the site's configuration") from None
    header, *lines = (line.rstrip("\r") for line in text.split("\n"))
    expected = (ID_COLUMN, SPLIT_COLUMN, *columns)
    is_split = SPLIT_COLUMN in header.split(",")
    if tuple(header.split(",")) != (expected if is_split else (ID_COLUMN, *columns)):
        raise DataError(f"{path}: the first line is not '{','.join(expected)}' → write the file anew")
    rows: list[_Row] = []
    for line in lines:
        fields = [field.strip() for field in line.split(",")]
        if not is_split:
            fields.insert(1, split_of(fields[0], _SPLIT_KEY))
        if len(fields) != len(expected) or not fields[0] or fields[1] not in ("train", "test"):
            continue
        example = encode(dict(zip(columns, fields[2:], strict=True)))
        if example is not None:
            rows.append((fields[0], fields[1] == "test", example))
    stays = keep_units_whole([row[0] for row in rows], [row[1] for row in rows])
    parts = ([row for row, kept in zip(rows, stays, strict=True) if kept and row[1] == test] for test in (False, True))
    return UnitData(*(_unit_records(part, num_features) for part in parts))


def finite_number(text: str) -> float | None:
    """Read a finite number, or nothing."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _unit_records(rows: list[_Row], num_features: int) -> UnitRecords:
    """Collect rows; rows with one id are one unit."""
    features = np.array([example[0] for *_, example in rows], dtype=np.float32).reshape(len(rows), num_features)
    targets = np.array([example[1] for *_, example in rows], dtype=np.float32)
    unit = number_units([record_id for record_id, *_ in rows])
    return UnitRecords(torch.from_numpy(features), torch.from_numpy(targets), unit)
