"""Heart disease from routine tests: logistic regression on declared, public feature bounds.

Nothing is fitted to data. Numbers are scaled to [-3, 3] from bounds that stand in this file, categories
are those that stand in this file; a value outside is clamped, a missing or unknown one becomes 0, the
middle. A line that has no id, split or target, or not the right number of fields, is left out.
"""

from collections import OrderedDict
from pathlib import Path

import torch

from almoner.data.heart_disease import COLUMNS
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.site_table import finite_number
from almoner.workloads.yes_or_no import YesOrNo, load_answers

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


class HeartDisease(YesOrNo):
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
        return load_answers(path, COLUMNS, TARGET, NUM_FEATURES, encode)

    def figures(self, model: torch.nn.Module, records: UnitRecords) -> dict[str, float]:
        """Return accuracy and AUC."""
        found = super().figures(model, records)
        return {"accuracy": found["accuracy"], "auc": found["auc"]}


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
    number = finite_number(text)
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


NUM_FEATURES = len(encode(dict.fromkeys(COLUMNS, "")))
