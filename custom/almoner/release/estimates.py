"""Turns noised integers into estimates with intervals; the same for one site, a sum of sites, or a noised total.

A count or sum has the exact quantile of its noise around it. For a mean, a share or a variance possible noises are
drawn from their law and taken off the noised integers: for a ratio the quantiles of what is left are the ends of
Fieller's interval, with the noise's own law in place of the normal one. Ends lie within the declared bounds.

A quantile x is read off a noised histogram. With C(t) the noised count up to bin t, N the total and D(t) = C(t) - pN,
it is the number of bins t with D(t) < 0, and its ends are the numbers of bins with D(t) < -h(t) and with D(t) < h(t),
where h(t) is the quantile of the noise of D(t) (Cornish, Fisher 1938, to the fourth cumulant). On bins with many
units each the interval covers more often than stated, never less.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from almoner.release.laws import NoiseLaw

DRAWS = 10_000
_SEED = 1
"""The draws are the same for every reader, so that one release has one interval."""

Draws = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """An estimate and its interval; a value of None tells that the noise hides it."""

    value: float | None
    lower: float
    upper: float


@lru_cache(maxsize=8)
def possible_noise(laws: tuple[NoiseLaw, ...]) -> tuple[Draws, ...]:
    """Return independent draws of the noise of each part of a query, float64[DRAWS] each."""
    seeds = np.random.SeedSequence(_SEED).spawn(len(laws))
    return tuple(law.sample(np.random.default_rng(seed), DRAWS) for law, seed in zip(laws, seeds, strict=True))


def of_count(cell: int, law: NoiseLaw, confidence: float) -> Estimate:
    """Return how many units there are: at least 0."""
    reach = law.half_width(confidence)
    return Estimate(float(max(cell, 0)), float(max(cell - reach, 0)), float(max(cell + reach, 0)))


def of_sum(cell: int, law: NoiseLaw, confidence: float) -> Estimate:
    """Return a sum in steps."""
    reach = law.half_width(confidence)
    return Estimate(float(cell), float(cell - reach), float(cell + reach))


def of_function(
    function: Callable[..., Draws],
    cells: tuple[int, ...],
    noise: tuple[Draws, ...],
    bounds: tuple[float, float],
    confidence: float,
) -> Estimate:
    """Return a function of several noised integers, the first of them a count of units.

    Args:
        function: of arrays, one for each cell; NaN where it has no value.
        noise: see `possible_noise`.
        bounds: between which the value lies for sure.
    """
    low, high = bounds
    value = float(function(*(np.array([float(cell)]) for cell in cells))[0])
    possible = function(*(cell - draws for cell, draws in zip(cells, noise, strict=True)))
    nothing = np.isnan(possible)
    possible[nothing] = np.where(np.arange(nothing.sum()) % 2, high, low)
    miss = (1 - confidence) / 2
    ends = np.clip(np.quantile(possible, [miss, 1 - miss]), low, high)
    shown = None if math.isnan(value) else min(max(value, low), high)
    return Estimate(shown, float(ends[0]), float(ends[1]))


def ratio(count: Draws, total: Draws) -> Draws:
    """Return total over count, NaN where the count is below 1."""
    found: Draws = np.divide(total, count, out=np.full(count.shape, np.nan), where=count >= 1)
    return found


def share(chosen: Draws, others: Draws) -> Draws:
    """Return the share of the chosen, NaN where there is nobody."""
    return ratio(chosen + others, chosen)


def variance(half_square: int) -> Callable[[Draws, Draws, Draws], Draws]:
    """Return the function of (count, sum of v, sum of v² - half_square) that is the variance."""

    def of(count: Draws, total: Draws, squares: Draws) -> Draws:
        return ratio(count, squares) + half_square - ratio(count, total) ** 2

    return of


def of_quantile(cells: NDArray[np.int64], prob: float, law: NoiseLaw, confidence: float) -> Estimate:
    """Return a quantile as the index of its bin.

    Args:
        cells: int64[bins], the noised histogram.
        prob: in (0, 1).
        law: of the noise of each bin.
    """
    excess = np.cumsum(cells)[:-1] - prob * cells.sum()
    reach = _reach_of_excess(len(cells), prob, law, confidence)
    below = [int((excess < edge).sum()) for edge in (-reach, np.zeros_like(reach), reach)]
    return Estimate(float(below[1]) if cells.sum() > 0 else None, float(below[0]), float(below[2]))


def _reach_of_excess(bins: int, prob: float, law: NoiseLaw, confidence: float) -> Draws:
    """Return h(t) for every bin but the last."""
    up_to = np.arange(1, bins)
    spread = law.variance * ((1 - prob) ** 2 * up_to + prob**2 * (bins - up_to))
    fourth = law.fourth_cumulant * ((1 - prob) ** 4 * up_to + prob**4 * (bins - up_to))
    z = -float(ndtri((1 - confidence) / 2))
    reach: Draws = (z + (z**3 - 3 * z) * fourth / (24 * spread**2)) * np.sqrt(spread)
    return reach
