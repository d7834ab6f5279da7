"""Tails and quantiles of discrete Laplace noise, against the convolved distribution."""

import math

import numpy as np
import pytest

from almoner.release.laplace_law import quantile, tail


def convolved_tails(epsilon: float, num_draws: int) -> tuple[np.ndarray, int]:
    """Return P(S = s) on a symmetric grid and the index of s = 0, by brute force."""
    reach = int(60 / epsilon) + 5
    one = np.exp(-epsilon * np.abs(np.arange(-reach, reach + 1)))
    one /= one.sum()
    total = one
    for _ in range(num_draws - 1):
        total = np.convolve(total, one)
    return total, num_draws * reach


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("num_draws", [1, 2, 4, 10])
def test_tail_is_exact(epsilon, num_draws):
    density, centre = convolved_tails(epsilon, num_draws)
    for bound in (0, 1, 2, 3, 7, 20, 60, 200):
        if centre + bound + 1 < density.size:
            assert tail(bound, epsilon, num_draws) == pytest.approx(
                density[centre + bound + 1 :].sum(), rel=1e-9, abs=1e-14
            )


def test_tail_of_one_draw_in_closed_form():
    for bound in range(50):
        p = math.exp(-0.3)
        assert tail(bound, 0.3, 1) == pytest.approx(p ** (bound + 1) / (1 + p), rel=1e-12)


@pytest.mark.parametrize("epsilon", [1e-6, 0.01, 0.1, 1.0, 5.0, 100.0])
@pytest.mark.parametrize("num_draws", [1, 2, 50])
@pytest.mark.parametrize("miss", [0.5, 0.025, 1e-9])
def test_quantile_is_the_least_bound(epsilon, num_draws, miss):
    bound = quantile(miss, epsilon, num_draws)
    assert 2 * tail(bound, epsilon, num_draws) <= miss
    assert bound == 0 or 2 * tail(bound - 1, epsilon, num_draws) > miss


def test_small_epsilon_approaches_the_continuous_laplace():
    assert quantile(0.05, 1e-6, 1) == pytest.approx(math.log(1 / 0.05) * 1e6, rel=1e-5)


def test_many_draws_approach_the_normal():
    p = math.exp(-0.1)
    deviation = math.sqrt(50 * 2 * p) / (1 - p)
    assert quantile(0.05, 0.1, 50) == pytest.approx(1.96 * deviation, rel=0.02)
