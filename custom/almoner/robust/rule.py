"""What every rule does alike: check n and f, drop what cannot be honest, mix, combine, report."""

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from almoner.robust.admit import NotVetted, admit, check_input, take_all
from almoner.robust.cloud import Cloud, Matrix, Rows
from almoner.robust.conditions import require
from almoner.robust.report import Aggregate, RowReport, RuleReport, Vector
from almoner.schema.aggregation import PreAggregationKind, RuleKind


@dataclass(frozen=True)
class Combined:
    """What a rule made of a cloud of m rows.

    Args:
        vector: float32[d].
        weights: float64[m], each row's share; see `RowReport`.
        scores: float64[m], or None.
        shortened: bool[m], rows that the rule itself clipped; None for no row.
    """

    vector: Vector
    weights: Matrix
    scores: Matrix | None = None
    shortened: npt.NDArray[np.bool_] | None = None


class PreAggregation(ABC):
    """A step before a rule that makes other rows of the rows."""

    kind: ClassVar[PreAggregationKind]

    @abstractmethod
    def apply(self, cloud: Cloud, num_byzantine: int) -> Cloud:
        """Return the cloud of the new rows.

        Args:
            cloud: m rows.
            num_byzantine: how many of them may be anything.
        """


class Rule(ABC):
    """A Byzantine-robust aggregation rule.

    *Guarantee*: for the same rows and sizes the result is the same. Rows that are not finite are dropped before
    anything is computed, and count against f. Sizes come from the caller, who takes them from public declarations;
    nothing that a row's sender says is read but the row.

    A rule that `begins_with_norms` calls `vet` before it does anything else with the rows.

    Args:
        num_byzantine: f, how many rows may be anything.
        pre: pre-aggregations, applied in this order.
    """

    kind: ClassVar[RuleKind]
    begins_with_norms: ClassVar[bool] = False

    def __init__(self, num_byzantine: int, pre: tuple[PreAggregation, ...] = ()) -> None:
        self.num_byzantine = num_byzantine
        self.pre = pre

    def check(self, num_rows: int) -> None:
        """Refuse a number of rows for which the rule promises nothing.

        Raises:
            PolicyViolation: see `conditions.require`.
        """
        require(self.kind, num_rows, self.num_byzantine, tuple(step.kind for step in self.pre))

    def aggregate(self, rows: Rows, sizes: Matrix) -> Aggregate:
        """Combine the rows.

        Args:
            rows: float32[n, d], one update a row. Not modified.
            sizes: float64[n], declared public sizes, positive; `multi_krum` and `norm_clipped_mean` weigh with them,
                the other rules do not look at them.

        Raises:
            PolicyViolation: n is too small for f.
            ProtocolError: the arrays have another form, or more than f rows are not finite.
        """
        check_input(rows, sizes)
        self.check(len(rows))
        if self.begins_with_norms and not self.pre:
            with suppress(NotVetted), np.errstate(over="ignore", invalid="ignore"):
                return self._aggregate(take_all(rows, sizes, vetted=False), len(rows))
        return self._aggregate(admit(rows, sizes, self.num_byzantine), len(rows))

    def _aggregate(self, admitted: Cloud, num_rows: int) -> Aggregate:
        """Combine the rows that take part, out of so many."""
        cloud, left = admitted, self.num_byzantine - (num_rows - admitted.num_rows)
        for step in self.pre:
            cloud = step.apply(cloud, left)
        combined = self.combine(cloud, left)
        name = "+".join([*(step.kind for step in self.pre), self.kind])
        return Aggregate(combined.vector, RuleReport(name, self._report(num_rows, admitted.places, cloud, combined)))

    @abstractmethod
    def combine(self, cloud: Cloud, num_byzantine: int) -> Combined:
        """Combine a cloud's rows, of which so many may be anything."""

    def _report(
        self, num_rows: int, places: npt.NDArray[np.intp] | None, cloud: Cloud, combined: Combined
    ) -> tuple[RowReport, ...]:
        """Say of each row that was received what became of it."""
        reports = [RowReport(kept=False, weight=0.0, score=None, reason="not finite or too large")] * num_rows
        shares = cloud.shares(combined.weights)
        for index, place in enumerate(range(num_rows) if places is None else places):
            owner = cloud.owners[index]
            clipped = cloud.shortened[index] or (combined.shortened is not None and combined.shortened[owner])
            kept, weight = bool(shares[index] > 0), float(shares[index])
            score = None if combined.scores is None else float(combined.scores[owner])
            reason = "clipped" if kept and clipped else "" if kept else f"cut by {self.kind}"
            reports[place] = RowReport(kept, weight, score, reason)
        return tuple(reports)
