import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_cases import gaussian, pure

from almoner.errors import DocumentError
from almoner.privacy import pld
from almoner.privacy.pld import pld_epsilon
from almoner.privacy.rdp import rdp_epsilon


def test_a_pure_release_counts_every_run() -> None:
    one, many = pld_epsilon((pure(0.1),), 1e-5), pld_epsilon((pure(0.1, 300),), 1e-5)
    assert one == pytest.approx(0.1, abs=1e-4)
    assert many > 80 * one


@pytest.mark.parametrize(("epsilon", "count"), [(0.5, 1), (0.5, 7), (2.0, 3), (0.03, 100), (9.0, 2)])
def test_a_pure_release_is_never_under_the_exact_figure(epsilon: float, count: int) -> None:
    p, delta = 1 / (1 + math.exp(-epsilon)), 1e-4
    outcomes = [
        (epsilon * (2 * k - count), math.comb(count, k) * p**k * (1 - p) ** (count - k)) for k in range(count + 1)
    ]

    def exact_delta(x: float) -> float:
        return sum(weight * -math.expm1(x - loss) for loss, weight in outcomes if loss > x)

    bound = pld_epsilon((pure(epsilon, count),), delta)
    assert exact_delta(bound) <= delta * (1 + 1e-9)
    assert exact_delta(bound - 0.02) > delta


@settings(deadline=None, max_examples=25)
@given(st.floats(min_value=0.8, max_value=30), st.floats(min_value=0.01, max_value=1.0), st.integers(1, 500))
def test_never_above_renyi_and_never_negative(sigma: float, q: float, count: int) -> None:
    events = (gaussian(sigma, q, count), pure(0.2, 2))
    assert 0 <= pld_epsilon(events, 1e-5) <= rdp_epsilon(events, 1e-5)


def test_how_events_are_split_does_not_matter() -> None:
    together = pld_epsilon((gaussian(4.0, 0.1, 100), pure(0.1, 2)), 1e-5)
    apart = pld_epsilon((pure(0.1), *[gaussian(4.0, 0.1, 20)] * 5, pure(0.1)), 1e-5)
    assert apart == together


def test_composition_of_different_events_is_above_each_and_below_the_sum() -> None:
    first, second = (gaussian(7.297, 0.5, 20),), (pure(0.1),)
    both = pld_epsilon(first + second, 1e-4)
    assert max(pld_epsilon(first, 1e-4), pld_epsilon(second, 1e-4)) < both
    assert both <= pld_epsilon(first, 1e-4) + 0.1 + 1e-3


def test_full_sampling_is_the_closed_form() -> None:
    # Balle and Wang, arXiv:1805.06530, Theorem 8
    def exact_delta(epsilon: float, mu: float) -> float:
        def cdf(x: float) -> float:
            return math.erfc(-x / math.sqrt(2)) / 2

        return cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * cdf(-mu / 2 - epsilon / mu)

    bound = pld_epsilon((gaussian(100.0, 1.0, 10_000),), 1e-6)
    assert exact_delta(bound, 1.0) <= 1e-6
    assert exact_delta(bound - 1e-3, 1.0) > 1e-6


def test_below_one_the_grid_is_finer() -> None:
    events = (gaussian(30.0, 0.5, 2000),)
    assert pld_epsilon((gaussian(200.0, 0.5, 2000),), 1e-5) < 1 < pld_epsilon(events, 1e-5)
    fine = pld._epsilon_on_grid((gaussian(200.0, 0.5, 2000),), 1e-5, pld.FINE_GRID)
    assert pld_epsilon((gaussian(200.0, 0.5, 2000),), 1e-5) == fine


@pytest.mark.parametrize(
    "event", [gaussian(0.02, 1.0, 1000), gaussian(0.5, 1.0, 10_000_000), gaussian(40.0, 0.01, 1_000_000)]
)
def test_what_a_grid_cannot_afford_falls_back_to_renyi(event: object) -> None:
    begin = time.process_time()
    assert pld_epsilon((event,), 1e-5) == rdp_epsilon((event,), 1e-5)
    assert time.process_time() - begin < 5


def test_nothing_released_is_epsilon_zero() -> None:
    assert pld_epsilon((), 1e-5) == 0


@pytest.mark.parametrize("delta", [0.0, 1e-11, 1.0, -1e-5, math.nan, math.inf])
def test_a_delta_out_of_range_is_refused(delta: float) -> None:
    with pytest.raises(DocumentError, match="delta"):
        pld_epsilon((pure(),), delta)
