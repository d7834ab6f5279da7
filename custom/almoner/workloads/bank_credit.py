"""Credit default within two years: a small MLP on declared, public feature bounds.

Nothing is fitted to data. A number is clamped to the bounds that stand in this file, compressed by a logarithm where
the table says so, and scaled so that its usual value, also from this file, is 0 and no value is beyond ±2. A missing or
unreadable one is taken as usual, and where the table says so a column of its own says that it was. A line that has no
id, split or target, or not the right number of fields, is left out.
"""

import hashlib
import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from almoner.data.give_me_some_credit import COLUMNS
from almoner.training.units import UnitData
from almoner.workloads.site_table import finite_number
from almoner.workloads.yes_or_no import YesOrNo, load_answers


@dataclass(frozen=True)
class Feature:
    """How one column is read.

    Args:
        low, usual, high: public numbers in the column's own unit; what is beyond low and high is clamped.
        is_logarithmic: whether log(1 + x) is taken.
        known: from the first to below the second; numbers outside are codes for "not known".
        is_indicated: whether a column of its own says that the number is missing.
    """

    low: float
    usual: float
    high: float
    is_logarithmic: bool = False
    known: tuple[float, float] = (-math.inf, math.inf)
    is_indicated: bool = False

    def scaled(self, number: float) -> float:
        """Return a number on the scale on which the usual one is 0 and the farther bound ±2."""
        low, usual, high = self._curve(self.low), self._curve(self.usual), self._curve(self.high)
        clamped = self._curve(min(max(number, self.low), self.high))
        return _HALF_WIDTH * (clamped - usual) / max(high - usual, usual - low)

    def _curve(self, number: float) -> float:
        return math.log1p(number) if self.is_logarithmic else number


_TIMES_LATE = Feature(0.0, 0.0, 3.0, is_logarithmic=True, known=(0.0, 90.0))

FEATURES: dict[str, Feature] = {
    "utilisation": Feature(0.0, 0.5, 1.0),
    "age": Feature(20.0, 50.0, 80.0, known=(1.0, math.inf)),
    "late_30_59": replace(_TIMES_LATE, is_indicated=True),
    "debt_ratio": Feature(0.0, 0.35, 4.0, is_logarithmic=True),
    "monthly_income": Feature(500.0, 5_000.0, 50_000.0, is_logarithmic=True, known=(2.0, math.inf), is_indicated=True),
    "open_lines": Feature(0.0, 8.0, 30.0, is_logarithmic=True),
    "late_90": _TIMES_LATE,
    "real_estate_lines": Feature(0.0, 1.0, 6.0, is_logarithmic=True),
    "late_60_89": _TIMES_LATE,
    "dependents": Feature(0.0, 0.0, 6.0, is_logarithmic=True),
}
"""Public bounds: shares of a limit or of income, years, times late in two years, money a month, loans, persons. The
codes for "not known" among times late stand in all three columns at once, so one column says it for all."""

TARGET = "defaulted"
HIDDEN = 16
_HALF_WIDTH = 2.0
_WEIGHTS_OF = b"almoner/bank_credit/first weights/1"


class BankCredit(YesOrNo):
    """Serious delinquency of an account, yes or no, from ten numbers a bank has; a unit is an account."""

    name = "bank_credit"

    def build_model(self) -> torch.nn.Module:
        """Build one hidden layer of bounded units (tanh, arXiv:2007.14191).

        The first weights are bytes of SHAKE-256 of a fixed text, scaled; biases are 0.
        """
        hidden, output = torch.nn.Linear(NUM_FEATURES, HIDDEN), torch.nn.Linear(HIDDEN, 1)
        drawn = np.frombuffer(hashlib.shake_256(_WEIGHTS_OF).digest(HIDDEN * (NUM_FEATURES + 1)), np.uint8)
        weights = torch.from_numpy((2.0 * drawn - 255.0).astype(np.float32) / 512.0)
        with torch.no_grad():
            hidden.weight.copy_(weights[HIDDEN:].reshape(HIDDEN, NUM_FEATURES))
            output.weight.copy_(weights[:HIDDEN].reshape(1, HIDDEN))
            torch.nn.init.zeros_(hidden.bias)
            torch.nn.init.zeros_(output.bias)
        layers = OrderedDict(hidden=hidden, tanh=torch.nn.Tanh(), output=output, log_odds=torch.nn.Flatten(0))
        return torch.nn.Sequential(layers)

    def load(self, path: Path) -> UnitData:
        """Load a site's `credit.csv`; see the base class for what this guarantees."""
        return load_answers(path, COLUMNS, TARGET, NUM_FEATURES, encode)


def encode(values: dict[str, str]) -> list[float]:
    """Encode one record's raw fields; total: every text has an encoding.

    Args:
        values: raw text by column name.

    Returns:
        NUM_FEATURES numbers, each in [-2, 2].
    """
    features: list[float] = []
    for column, feature in FEATURES.items():
        number = finite_number(values[column])
        is_known = number is not None and feature.known[0] <= number < feature.known[1]
        features.append(feature.scaled(number if number is not None and is_known else feature.usual))
        if feature.is_indicated:
            features.append(float(not is_known))
    return features


NUM_FEATURES = len(encode(dict.fromkeys(COLUMNS, "")))
