"""What a rule answers: the aggregate, and for each row whether and how it counts in it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RowReport:
    """What became of one row.

    Args:
        kept: False when the row has no say in the result.
        weight: its share. Of rules that add rows up, the row's factor in the sum, clipping included; of elementwise
            rules, equal for all rows that are sorted.
        score: what the rule judged it by; see the rule. None when the rule does not score, or the row was dropped.
        reason: why it was cut or shortened; empty when it was not.
    """

    kept: bool
    weight: float
    score: float | None
    reason: str


@dataclass(frozen=True)
class RuleReport:
    """What became of all rows, in the order they were given.

    Args:
        rule: the rule's kind, with its pre-aggregations before it: `bucketing+krum`.
        rows: one report a row.
    """

    rule: str
    rows: tuple[RowReport, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it in types that JSON has."""
        return {"rule": self.rule, "rows": [asdict(row) for row in self.rows]}


@dataclass(frozen=True)
class Aggregate:
    """A rule's result.

    Args:
        vector: float32[d]; an array of its own.
        report: who counts in it.
    """

    vector: Vector
    report: RuleReport
