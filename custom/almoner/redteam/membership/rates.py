"""What an attack's scores are worth: true positives at few false ones, with intervals that count units."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from almoner.workloads.metrics import auc

FALSE_POSITIVE_RATES = (0.01, 0.001)
LEAST_NON_MEMBERS = {0.01: 100, 0.001: 10_000}
"""A rate below is not measured: fewer than ten false positives say nothing."""

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Rate:
    """The true positive rate at a false positive rate, with its interval."""

    false_positive_rate: float
    true_positive_rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """What an attack is worth.

    Args:
        auc: area under the ROC curve.
        rates: at each of `FALSE_POSITIVE_RATES` for which there are enough non-members.
        false_positive_rates: of the ROC curve, float64[k].
        true_positive_rates: of the ROC curve, float64[k].
        num_units: how many distinct units there are; each is a member in some models and none in others.
    """

    auc: float
    rates: tuple[Rate, ...]
    false_positive_rates: NDArray[np.float64]
    true_positive_rates: NDArray[np.float64]
    num_units: int


def worth_of(scores: NDArray[np.float64], included: NDArray[np.bool_]) -> Worth:
    """Measure an attack over all models.

    A unit's trials in several models depend on each other. So intervals count each unit as one trial, and so does the
    least number of non-members.

    Args:
        scores: float64[models, units]; higher means a member.
        included: bool[models, units].
    """
    members, others = scores[included], scores[~included]
    units = scores.shape[1]
    rates = []
    for rate in FALSE_POSITIVE_RATES:
        if units >= LEAST_NON_MEMBERS[rate]:
            found = float((members > threshold_at(others, rate)).mean())
            rates.append(Rate(rate, found, *clopper_pearson(round(found * units), units)))
    thresholds = np.unique(scores)
    return Worth(
        auc(scores.reshape(-1), included.reshape(-1)),
        tuple(rates),
        _share_above(others, thresholds),
        _share_above(members, thresholds),
        units,
    )


def threshold_at(others: NDArray[np.float64], false_positive_rate: float) -> float:
    """Return the lowest score that at most this share of non-members is above."""
    ordered = np.sort(others)
    return float(ordered[len(ordered) - 1 - int(false_positive_rate * len(ordered))])


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact two-sided interval of a binomial rate.

    Reference: Clopper, Pearson, Biometrika 26 (1934).
    """
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, successes, trials - successes + 1)) if successes else 0.0
    high = float(beta.isf(tail, successes + 1, trials - successes)) if successes < trials else 1.0
    return low, high


def _share_above(values: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return which share of values is above each threshold, from 1 down."""
    above = 1.0 - np.searchsorted(np.sort(values), thresholds, side="right") / len(values)
    return np.concatenate([[1.0], above])
