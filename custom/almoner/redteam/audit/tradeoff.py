"""Trade-off curves: the smallest miss rate that any test of one unit's presence can have at a false alarm rate."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from riskcal.analysis import get_beta_from_plrvs, pld_to_plrvs

from almoner.privacy.pld import fixed_distribution
from almoner.schema.receipt import PrivacyEvent


@dataclass(frozen=True, slots=True, eq=False)
class TradeOff:
    """A convex trade-off function f by its corners; straight between them.

    Args:
        false_alarms: float64[k], ascending from 0 to 1.
        misses: float64[k], the least miss rate at each.
    """

    false_alarms: NDArray[np.float64]
    misses: NDArray[np.float64]

    def __call__(self, false_alarm: float) -> float:
        """Return f at a false alarm rate in [0, 1]."""
        return float(np.interp(false_alarm, self.false_alarms, self.misses))

    def most_found(self, false_alarms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 1 - f: the largest true positive rate at each false positive rate."""
        return 1.0 - np.interp(false_alarms, self.false_alarms, self.misses)


@lru_cache(maxsize=64)
def trade_off(events: tuple[PrivacyEvent, ...]) -> TradeOff | None:
    """Return the trade-off function that events fixed in advance guarantee one unit, under add-or-remove-one.

    *Guarantee*: losses are rounded up onto the grid of the PLD, so f is at most the true one. It is that of the
    subsampled mechanism itself, in both directions; no Gaussian stands in for it.

    Returns:
        f, or None where a PLD is not affordable (see `privacy.pld`).

    Reference: Kulynych, Gomez et al., arXiv:2407.02191, Algorithm 1; symmetric by Dong et al., arXiv:1905.02383, F.1.
    """
    distribution = fixed_distribution(events)
    if distribution is None:
        return None
    losses = pld_to_plrvs(distribution)
    tails = np.cumsum(losses.pmf_X[::-1]), np.cumsum(losses.pmf_Y)
    corners = np.unique(np.clip(np.concatenate([[0.0, 1.0], *tails]), 0.0, 1.0))
    return TradeOff(corners, np.clip(get_beta_from_plrvs(losses, alpha=corners), 0.0, 1.0))
