"""Heart disease from routine tests: logistic regression on declared, public feature bounds.

Nothing is fitted to data. Numbers are scaled to [-3, 3] from bounds that stand in this file, categories
are those that stand in this file; a value outside is clamped, a missing or unknown one becomes 0, the
middle. A line that has no id, split or target, or not the right number of fields, is left out.
"""

import math
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from almoner.data.heart_disease import COLUMNS
from almoner.data.records import ID_COLUMN, SPLIT_COLUMN
from almoner.errors import DataError
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.base import Workload

BOUNDS: dict[str, tuple[float, float]] = {
    "age": (20.0, 80.0),
    "trestbps": (80.0, 200.0),
    "chol": (100.0, 400.0),
    "thalch": (60.0, 200.0),
    "oldpeak": (-2.0, 4.0),
}
"""Public bounds from clinical ranges: years, mm Hg, mg/dl, beats a minute, mm of ST depression."""

CATEGORIES: dict[str, tuple[str, ...]] = {
    "sex": ("male", "female"),
    "cp": ("typical angina", "atypical angina", "non-anginal", "asymptomatic"),
    "fbs": ("true", "false"),
    "restecg": ("normal", "st-t abnormality", "lv hypertrophy"),
    "exang": ("true", "false"),
}
"""Public categories in lower case. Two share one column (1, -1); more have one each (less their mean)."""

NEVER_ZERO = frozenset({"chol", "trestbps"})
"""Measurements whose 0 in the source means "not measured"."""

INDICATED = frozenset({"chol"})
"""Measurements so often missing that a column of their own says so."""

TARGET = "num"
_HALF_WIDTH = 3.0
_HEADER = (ID_COLUMN, SPLIT_COLUMN, *COLUMNS)


class HeartDisease(Workload):
    """Coronary disease, yes or no, from ten routine measurements; a unit is a patient."""

    name = "heart_disease"

    def build_model(self) -> torch.nn.Module:
        """Build a logistic regression with intercept; all weights are 0."""
        linear = torch.nn.Linear(NUM_FEATURES, 1)
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
        return torch.nn.Sequential(OrderedDict(linear=linear, log_odds=torch.nn.Flatten(0)))

    def load(self, path: Path) -> UnitData:
        """Load a site's `heart.csv`; see the base class for what this guarantees."""
        try:
            text = path.read_bytes().decode("utf-8-sig", errors="replace")
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror} → correct the site's configuration") from None
        header, *lines = (line.rstrip("\r") for line in text.split("\n"))
        if tuple(header.split(",")) != _HEADER:
            raise DataError(f"{path}: the first line is not '{','.join(_HEADER)}' → write the file anew")
        rows = [row for row in map(_parse, lines) if row is not None]
        return UnitData(
            train=_unit_records([row for row in rows if row.split == "train"]),
            test=_unit_records([row for row in rows if row.split == "test"]),
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the logistic loss of each record."""
        return torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        """Return 1 where the log odds are positive, else 0."""
        return (outputs > 0).to(outputs.dtype)


class _Row(NamedTuple):
    record_id: str
    split: str
    features: list[float]
    target: float


def _parse(line: str) -> _Row | None:
    """Make of one line what it is by itself; None where it is no usable record."""
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != len(_HEADER) or not fields[0] or fields[1] not in ("train", "test"):
        return None
    values = dict(zip(COLUMNS, fields[2:], strict=True))
    target = _number(values[TARGET])
    if target is None:
        return None
    return _Row(fields[0], fields[1], encode(values), float(target > 0))


def encode(values: dict[str, str]) -> list[float]:
    """Encode one record's raw fields; total: every text has an encoding.

    Args:
        values: raw text by column name.

    Returns:
        NUM_FEATURES numbers, each in [-3, 3].
    """
    features: list[float] = []
    for column in COLUMNS:
        if column in BOUNDS:
            features += _encode_number(column, values[column])
        elif column in CATEGORIES:
            features += _encode_category(CATEGORIES[column], values[column])
    return features


def _encode_number(column: str, text: str) -> list[float]:
    low, high = BOUNDS[column]
    number = _number(text)
    missing = number is None or (number == 0 and column in NEVER_ZERO)
    middle = (low + high) / 2
    clamped = middle if number is None or missing else min(max(number, low), high)
    scaled = _HALF_WIDTH * (clamped - middle) / (high - middle)
    return [scaled, float(missing)] if column in INDICATED else [scaled]


def _encode_category(known: tuple[str, ...], text: str) -> list[float]:
    label = text.lower()
    if len(known) == 2:
        return [float(label == known[0]) - float(label == known[1])]
    return [float(label == name) - 1 / len(known) if label in known else 0.0 for name in known]


def _number(text: str) -> float | None:
    """Read a finite number, or nothing."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _unit_records(rows: list[_Row]) -> UnitRecords:
    """Collect rows; rows with one id are one unit."""
    _, unit = np.unique(np.array([row.record_id for row in rows], dtype=np.str_), return_inverse=True)
    features = np.array([row.features for row in rows], dtype=np.float32).reshape(len(rows), NUM_FEATURES)
    targets = np.array([row.target for row in rows], dtype=np.float32)
    return UnitRecords(torch.from_numpy(features), torch.from_numpy(targets), unit.astype(np.int64))


NUM_FEATURES = len(encode(dict.fromkeys(COLUMNS, "")))
