"""Robust aggregation in clear: the server reads every update, and combines them so that a few bad ones do little.

Sites take part as in plain aggregation: they send integers, and open a sum. They see that it is in range; nothing
proves to them that the server made it by the rule. Weights are the declared sizes of the roster: no message of a site
has a field for a count of samples, so that none can be claimed.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from almoner.protection.plain import PlainServer, write_total
from almoner.protection.scheme import VALUE_BOUND, IntVector
from almoner.robust.rows import integer_total, mean_rows
from almoner.robust.rule import Rule

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RobustTerms:
    """What the server combines updates by; all of it public.

    Args:
        declared: the public size of each site's data set, in roster order.
        dimension: d.
        min_sites: fewest contributors of a round.
        step: distance of two grid points.
        sampling_prob: q.
        rule: returns the rule of a round for a seed, which nobody knew before all its updates were there.
        least_energy: as of `PlainServer`.
    """

    declared: dict[str, int]
    dimension: int
    min_sites: int
    step: float
    sampling_prob: float
    rule: Callable[[bytes], Rule]
    least_energy: float = 0.0


class RobustServer(PlainServer):
    """Combines the updates that it reads by a robust rule.

    *Guarantee*: that of the rule, if no more sites send what they should not than the rule was made for. A site that
    was cut counts as a contributor: its data was used, and its size is in the divisor of all others.
    """

    def __init__(self, terms: RobustTerms) -> None:
        super().__init__(terms.dimension, terms.min_sites, terms.least_energy)
        self._terms = terms

    def _combine(self, number: int, values: dict[str, IntVector]) -> tuple[bytes, dict[str, Any] | None]:
        """Apply the rule to the mean updates, with a seed drawn now; return the sum for its result, and its report."""
        terms = self._terms
        sizes = np.array([terms.declared[site] for site in values], dtype=np.float64)
        rows = mean_rows(np.stack(list(values.values())), sizes, terms.step, terms.sampling_prob)
        seed = secrets.token_bytes(32)
        found = terms.rule(seed).aggregate(rows, sizes)
        report = {"sites": list(values), "seed": seed.hex(), **found.report.to_json()}
        logger.info("round %d: %s", number, describe_rows(tuple(values), report["rows"]))
        total = integer_total(found.vector, float(sizes.sum()), terms.step, terms.sampling_prob)
        bound = len(values) * VALUE_BOUND
        return write_total(np.clip(total, -bound, bound), len(values)), report


def describe_rows(whose: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    """Return a line that says who was kept, and who was cut with which score; scores are of noised updates."""

    def says(name: str, row: dict[str, Any]) -> str:
        score = "" if row["score"] is None else f", score {row['score']:.4g}"
        return f"{name} {row['reason'] or ('kept' if row['kept'] else 'cut')}{score}"

    return "; ".join(says(name, row) for name, row in zip(whose, rows, strict=True))
