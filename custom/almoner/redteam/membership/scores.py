"""LiRA and RMIA as pure functions of confidences: which of many models had which units, and how sure each is of them.

Every model is the target in turn, and all others are its shadows: of a unit, about half had it and half had not. So
both attacks are online.
"""

import numpy as np
from numpy.typing import NDArray

from almoner.errors import PolicyViolation

MIN_SHADOWS = 16

_LEAST_LOSS = 1e-12
_LEAST_SPREAD = 1e-6


def confidences(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log odds ln(p/(1-p)) of the right answer from losses -ln p, of any shape."""
    bounded = np.maximum(losses, _LEAST_LOSS)
    odds: NDArray[np.float64] = -bounded - np.log(-np.expm1(-bounded))
    return odds


def lira_scores(odds: NDArray[np.float64], included: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Score each (model, unit) by the log likelihood ratio of its log odds: units that were in, against those out.

    Of each unit a normal distribution is fitted to the shadows that had it and one to those that had not, with means of
    its own and two variances that all units share: few shadows do not give a unit's own.

    Args:
        odds: float64[models, units].
        included: bool[models, units].

    Returns:
        float64[models, units]; higher means a member.

    Raises:
        PolicyViolation: there are fewer than 17 models, or a unit has not two shadows of each kind.

    Reference: Carlini et al., arXiv:2112.03570, Algorithm 1, with variances that all units share.
    """
    _check(odds, included)
    means, variances = {}, {}
    for kind, chosen in (("in", included), ("out", ~included)):
        means[kind] = _mean_of_others(odds, chosen)
        deviations = odds - _own_mean(odds, chosen)
        freedom = chosen.sum() - odds.shape[1]
        variances[kind] = max(_LEAST_SPREAD, float((deviations[chosen] ** 2).sum() / freedom))
    score: NDArray[np.float64] = _log_normal(odds, means["in"], variances["in"]) - _log_normal(
        odds, means["out"], variances["out"]
    )
    return score


def rmia_scores(
    losses: NDArray[np.float64], included: NDArray[np.bool_], population: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Score each (model, unit) by the share of a population that it beats in likelihood ratio.

    A ratio is the target's likelihood of a unit over the mean likelihood of the shadows, in and out alike; γ = 1.

    Args:
        losses: float64[models, units], -ln of each unit's likelihood.
        included: bool[models, units].
        population: float64[models, z], the same of units that no model had.

    Returns:
        float64[models, units] from 0 to 1; higher means a member.

    Raises:
        PolicyViolation: as `lira_scores`.

    Reference: Zarifzadeh, Liu, Shokri, arXiv:2312.03262, online.
    """
    _check(losses, included)
    likelihoods, others = np.exp(-losses), np.exp(-population)
    mean = (_mean_of_others(likelihoods, included) + _mean_of_others(likelihoods, ~included)) / 2
    ratios = likelihoods / np.maximum(mean, _LEAST_LOSS)
    base = others / np.maximum(_mean_of_others(others, np.ones_like(others, dtype=np.bool_)), _LEAST_LOSS)
    return np.stack([np.searchsorted(np.sort(z), x, side="right") / len(z) for x, z in zip(ratios, base, strict=True)])


def _mean_of_others(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return for each (model, unit) the mean over the chosen models, without this one."""
    weight = chosen.astype(np.float64)
    total, count = (values * weight).sum(axis=0), weight.sum(axis=0)
    mean: NDArray[np.float64] = (total - values * weight) / (count - weight)
    return mean


def _own_mean(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return for each unit the mean over the chosen models, float64[units]."""
    mean: NDArray[np.float64] = (values * chosen).sum(axis=0) / chosen.sum(axis=0)
    return mean


def _log_normal(values: NDArray[np.float64], means: NDArray[np.float64], variance: float) -> NDArray[np.float64]:
    """Return the log density of a normal distribution, but for the constant."""
    density: NDArray[np.float64] = -((values - means) ** 2) / (2 * variance) - np.log(variance) / 2
    return density


def _check(values: NDArray[np.float64], included: NDArray[np.bool_]) -> None:
    counts = included.sum(axis=0)
    if len(values) <= MIN_SHADOWS:
        raise PolicyViolation(f"membership: {len(values)} models → take {MIN_SHADOWS + 1} or more")
    if values.shape != included.shape or counts.min(initial=2) < 2 or (len(values) - counts).min(initial=2) < 2:
        raise PolicyViolation("membership: a unit is in too few models, or in too many → balance the draw")
