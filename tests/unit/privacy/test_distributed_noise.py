"""The charge of distributed noise: the formula, its bound on the true divergence, and how shares are sized."""

import math

import numpy as np
import pytest
from tests.statistical.distributed_error import request

from almoner.errors import DocumentError, PolicyViolation
from almoner.privacy.distributed_noise import MIN_SITE_SIGMA, distributed_epsilon, distributed_plan, shared_noise
from almoner.privacy.plans import largest_epsilon, plan_of
from almoner.privacy.rdp import rdp_epsilon
from almoner.privacy.statistics_range import check_range
from almoner.privacy.zcdp import largest_rho
from almoner.protection.parties import Parties


def spec(colluding: int = 1, epsilon: float = 0.5):  # type: ignore[no-untyped-def]
    return request({"kind": "distributed", "num_colluding_sites": colluding}, epsilon)


@pytest.mark.parametrize(("sigma", "shares", "cells"), [(4.0, 2, 1), (4.0, 47, 10_000), (20.0, 7, 100)])
def test_the_formula(sigma: float, shares: int, cells: int) -> None:
    tau = 10 * sum(math.exp(-2 * math.pi**2 * sigma**2 * k / (k + 1)) for k in range(1, shares))
    expected = 3 / (sigma * math.sqrt(shares)) + tau * math.sqrt(cells)
    assert distributed_epsilon(3, sigma, shares, cells) == pytest.approx(expected, rel=1e-9)
    assert distributed_epsilon(3, sigma, shares, cells) >= expected


@pytest.mark.parametrize("shares", [1, 2, 5])
@pytest.mark.parametrize("order", [2, 6, 32])
def test_the_true_divergence_of_a_sum_of_discrete_gaussians_is_below_the_charge(shares: int, order: int) -> None:
    """Sums are convolved exactly, up to tails below 1e-30; Rényi divergences of a shift by 1, both ways."""
    sigma = MIN_SITE_SIGMA
    support = np.arange(-60, 61)
    one = np.exp(-(support**2) / (2 * sigma**2))
    one /= one.sum()
    total = one
    for _ in range(shares - 1):
        total = np.convolve(total, one)
    first, second = total[1:], total[:-1]
    kept = (first > 1e-30) & (second > 1e-30)
    rho = distributed_epsilon(1, sigma, shares, 1) ** 2 / 2
    for p, q in ((first, second), (second, first)):
        logs = order * np.log(p[kept]) + (1 - order) * np.log(q[kept])
        divergence = float(np.logaddexp.reduce(logs)) / (order - 1)
        assert divergence <= rho * order * (1 + 1e-9)
        assert divergence > 0.9 * rho * order, "the bound is not far off"


@pytest.mark.parametrize(("sites", "colluding"), [(4, 1), (10, 3), (50, 20)])
def test_any_threshold_of_sites_has_the_noise_that_is_claimed(sites: int, colluding: int) -> None:
    (noise,) = shared_noise(spec(colluding), sites)
    rho = largest_rho(0.5, 1e-5)
    assert noise.num_shares == Parties(sites, colluding).threshold - colluding
    assert noise.sigma >= 1 / math.sqrt(2 * rho)
    assert noise.rho <= rho * (1 + 1e-9)
    plan = distributed_plan(spec(colluding), sites)
    assert rdp_epsilon(plan.all_events, 1e-5) <= 0.5 + 1e-6
    assert all(f"{colluding} may not" in event.assumption for event in plan.all_events)


@pytest.mark.parametrize("epsilon", [0.5, 5.0, 50.0])
def test_little_noise_is_added_in_finer_steps(epsilon: float) -> None:
    (noise,) = shared_noise(spec(epsilon=epsilon), 50)
    rho = largest_rho(epsilon, 1e-5)
    assert noise.step_sigma >= MIN_SITE_SIGMA
    assert noise.steps == 1 or noise.site_sigma * (noise.steps - 1) < MIN_SITE_SIGMA, "and in no finer ones"
    assert noise.rho == pytest.approx(rho, rel=1e-6)
    assert noise.rho <= rho * (1 + 1e-9)


def test_too_few_sites_for_those_that_may_collude() -> None:
    with pytest.raises(DocumentError, match="4 sites cannot withstand 3 colluding ones"):
        plan_of(spec(3), 4)
    with pytest.raises(PolicyViolation, match="σ_i=3 steps, at least 4"):
        distributed_epsilon(1, 3.0, 2, 1)


def test_the_largest_epsilon_that_fits_does() -> None:
    order, left = 6, 0.02
    largest = largest_epsilon(spec(epsilon=5.0), 4, left, order)
    assert 0 < largest < 5
    assert plan_of(spec(epsilon=largest), 4).charge(order) <= left
    assert plan_of(spec(epsilon=largest + 0.01), 4).charge(order) > left
    assert largest_epsilon(spec(), 4, 1.0, order) == 0.5, "what fits is not lowered"
    assert largest_epsilon(spec(), 4, 1e-9, order) == 0.0


def test_sums_that_could_wrap_are_refused() -> None:
    check_range(spec(), 4, 10**9)
    with pytest.raises(PolicyViolation, match="could wrap"):
        check_range(spec(), 4, 10**17)
