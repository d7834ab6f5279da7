"""The noise of the accuracy release as OpenDP draws it, and the coverage of its interval.

OpenDP's sampler takes its randomness from the operating system and cannot be seeded, so each test states its
false-positive rate (FPR): at most 1e-6 each.
"""

import math
from functools import lru_cache

import numpy as np
import pytest
from scipy import stats

from almoner.release.accuracy import NoisyAccuracy, release_accuracy
from almoner.release.interpret import interpret, interpret_sum
from almoner.release.laplace_law import quantile, tail

FPR = 1e-6
EPSILON = 0.5
DRAWS = 6_000
CORRECT, WRONG = 60, 20


@lru_cache(maxsize=1)
def noise() -> np.ndarray:
    """Return int64[DRAWS, 2]: the noise of as many releases."""
    releases = [release_accuracy(CORRECT, WRONG, EPSILON) for _ in range(DRAWS)]
    return np.array([(r.noisy_correct - CORRECT, r.noisy_wrong - WRONG) for r in releases])


def goodness_of_fit(draws: np.ndarray, epsilon: float) -> float:
    """Return the chi-square p-value of draws against discrete Laplace noise; the tails are pooled."""
    edge = next(k for k in range(1, 1000) if tail(k, epsilon, 1) * draws.size < 20)
    p = math.exp(-epsilon)
    inner = [(1 - p) / (1 + p) * p ** abs(z) for z in range(-edge, edge + 1)]
    expected = np.array([tail(edge, epsilon, 1), *inner, tail(edge, epsilon, 1)]) * draws.size
    clipped = np.clip(draws, -edge - 1, edge + 1)
    observed = np.array([(clipped == z).sum() for z in range(-edge - 1, edge + 2)])
    return float(stats.chisquare(observed, expected).pvalue)


@pytest.mark.parametrize("column", [0, 1])
def test_noise_is_discrete_laplace(column):
    """FPR 1e-6 a column (chi-square)."""
    assert goodness_of_fit(noise()[:, column], EPSILON) > FPR


def test_the_goodness_of_fit_would_see_an_epsilon_15_percent_off():
    """A wrong scale is seen; it fails wrongly with probability below 1e-6."""
    draws = noise().reshape(-1)
    assert goodness_of_fit(draws, EPSILON * 1.15) < FPR
    assert goodness_of_fit(draws, EPSILON / 1.15) < FPR


def test_noise_has_mean_zero_and_the_right_variance():
    """FPR 1e-6 each (normal approximation: 5 standard errors, 5.5 for the variance, whose estimate is skewed)."""
    p = math.exp(-EPSILON)
    variance = 2 * p / (1 - p) ** 2
    draws = noise().reshape(-1)
    assert abs(draws.mean()) < 5 * math.sqrt(variance / draws.size)
    fourth = 2 * p * (1 + 10 * p + p * p) / (1 - p) ** 4
    assert abs((draws**2).mean() - variance) < 5.5 * math.sqrt((fourth - variance**2) / draws.size)


def test_the_two_counts_are_noised_independently():
    """FPR 1e-6 (correlations of independent columns, 5 and 5.5 standard errors)."""
    first, second = noise().T
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(DRAWS)
    assert abs(np.corrcoef(np.abs(first), np.abs(second))[0, 1]) < 5.5 / math.sqrt(DRAWS)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_both_counts_are_within_the_noise_bound_as_often_as_stated(confidence):
    """FPR 1e-6 (exact binomial tail at the stated level)."""
    bound = quantile((1 - confidence) / 2, EPSILON, 1)
    misses = (np.abs(noise()) > bound).any(axis=1).sum()
    assert misses <= stats.binom.isf(FPR, DRAWS, 1 - confidence)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
@pytest.mark.parametrize("counts", [(60, 20), (11, 3), (1, 0)])
def test_interval_of_one_site_covers(counts, confidence):
    """FPR 1e-6 over 2,000 releases (exact binomial tail at the stated level)."""
    correct, wrong = counts
    misses = 0
    for first, second in noise()[:2_000]:
        reading = interpret(correct + int(first), wrong + int(second), EPSILON, confidence)
        misses += not reading.lower <= correct / (correct + wrong) <= reading.upper
    assert misses <= stats.binom.isf(FPR, 2_000, 1 - confidence)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_interval_of_three_sites_covers(confidence):
    """FPR 1e-6 over 2,000 releases of three sites (exact binomial tail at the stated level)."""
    truth = [(60, 20), (11, 3), (30, 1)]
    accuracy = sum(c for c, _ in truth) / sum(c + w for c, w in truth)
    misses = 0
    for draw in noise().reshape(2_000, 3, 2):
        releases = [NoisyAccuracy(c + int(a), w + int(b)) for (c, w), (a, b) in zip(truth, draw, strict=True)]
        reading = interpret_sum(releases, EPSILON, confidence)
        misses += not reading.lower <= accuracy <= reading.upper
    assert misses <= stats.binom.isf(FPR, 2_000, 1 - confidence)
