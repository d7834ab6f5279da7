"""Reads a site's CSV file line by line, so that what becomes of a record is a function of this record alone.

A line that has no id or split, or not the right number of fields, is left out. Lines with one id are one unit.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from almoner.data.records import ID_COLUMN, SPLIT_COLUMN
from almoner.errors import DataError
from almoner.training.units import UnitData, UnitRecords

Example = tuple[list[float], float]
"""The features and the target of one record."""

_Row = tuple[str, Example]


def load_site_table(
    path: Path, columns: tuple[str, ...], num_features: int, encode: Callable[[dict[str, str]], Example | None]
) -> UnitData:
    """Load a site's file.

    Args:
        path: CSV without quoting: record id, split, then the columns.
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
    if tuple(header.split(",")) != expected:
        raise DataError(f"{path}: the first line is not '{','.join(expected)}' → write the file anew")
    rows: dict[str, list[_Row]] = {"train": [], "test": []}
    for line in lines:
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != len(expected) or not fields[0] or fields[1] not in rows:
            continue
        example = encode(dict(zip(columns, fields[2:], strict=True)))
        if example is not None:
            rows[fields[1]].append((fields[0], example))
    return UnitData(train=_unit_records(rows["train"], num_features), test=_unit_records(rows["test"], num_features))


def finite_number(text: str) -> float | None:
    """Read a finite number, or nothing."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _unit_records(rows: list[_Row], num_features: int) -> UnitRecords:
    """Collect rows; rows with one id are one unit."""
    _, unit = np.unique(np.array([record_id for record_id, _ in rows], dtype=np.str_), return_inverse=True)
    features = np.array([example[0] for _, example in rows], dtype=np.float32).reshape(len(rows), num_features)
    targets = np.array([example[1] for _, example in rows], dtype=np.float32)
    return UnitRecords(torch.from_numpy(features), torch.from_numpy(targets), unit.astype(np.int64))
