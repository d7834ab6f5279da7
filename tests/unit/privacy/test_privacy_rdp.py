import math

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant, compute_epsilon
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_cases import gaussian, pure
from scipy.integrate import quad

from almoner.errors import AlmonerError
from almoner.privacy.events import quantise
from almoner.privacy.rdp import ORDERS, rdp, rdp_epsilon, total_rdp

orders = st.integers(2, 64)
sigmas = st.floats(min_value=0.3, max_value=1000.0)
probs = st.floats(min_value=1e-6, max_value=1.0)


def _divergences(sigma: float, q: float, order: int) -> tuple[float, float]:
    """Integrate the Rényi divergence between N(0, σ²) and the mixture, in both directions."""

    def log_base(x: float) -> float:
        return -x * x / (2 * sigma**2) - math.log(sigma * math.sqrt(2 * math.pi))

    def log_mixture(x: float) -> float:
        return log_base(x) + math.log(1 - q + q * math.exp((2 * x - 1) / (2 * sigma**2)))

    def divergence(p, r) -> float:
        def moment(x: float) -> float:
            return math.exp(order * p(x) + (1 - order) * r(x))

        value, _ = quad(moment, -12 * sigma - order, 12 * sigma + order, points=[0, order], limit=400, epsabs=0)
        return math.log(value) / (order - 1)

    return divergence(log_mixture, log_base), divergence(log_base, log_mixture)


@pytest.mark.parametrize(("sigma", "q", "order"), [(1.0, 0.1, 4), (2.0, 0.5, 8), (0.7, 0.01, 3), (3.0, 0.9, 6)])
def test_the_bound_covers_both_directions(sigma: float, q: float, order: int) -> None:
    removed, added = _divergences(sigma, q, order)
    assert rdp(gaussian(sigma, q), order) == pytest.approx(max(removed, added), rel=1e-6)


@settings(deadline=None)
@given(sigmas, probs, orders)
def test_never_below_dp_accounting_and_equal_where_it_is_exact(sigma: float, q: float, order: int) -> None:
    on_grid = quantise(gaussian(sigma, q))
    event = PoissonSampledDpEvent(on_grid.sampling_prob, GaussianDpEvent(on_grid.noise_multiplier))
    library = float(RdpAccountant(orders=[order]).compose(event).rdp[0])
    own = rdp(gaussian(sigma, q), order)
    assert own >= library
    assert own == pytest.approx(library, rel=1e-3, abs=1e-13)


def test_a_tiny_charge_keeps_its_digits_where_the_library_loses_them() -> None:
    sigma, q, order = 100.0, 1e-9, 18
    truth = order * q**2 * math.expm1(1 / sigma**2) / 2  # the quadratic term; the others are 1e-9 of it
    library = float(RdpAccountant(orders=[order]).compose(PoissonSampledDpEvent(q, GaussianDpEvent(sigma))).rdp[0])
    assert rdp(gaussian(sigma, q), order) >= truth * (1 - 1e-6)
    assert library < 0.999 * truth  # the control: the library alone would undercharge


@settings(deadline=None)
@given(sigmas, probs, orders, st.integers(1, 10_000))
def test_count_multiplies(sigma: float, q: float, order: int, count: int) -> None:
    assert rdp(gaussian(sigma, q, count), order) == pytest.approx(count * rdp(gaussian(sigma, q), order), rel=1e-12)


@settings(deadline=None)
@given(sigmas, probs, orders)
def test_more_noise_and_less_sampling_never_cost_more(sigma: float, q: float, order: int) -> None:
    cost = rdp(gaussian(sigma, q), order)
    rounding = 1e-15  # dp_accounting's, in charges that small
    assert rdp(gaussian(sigma * 1.01, q), order) <= cost + rounding
    assert rdp(gaussian(sigma, q * 0.99), order) <= cost + rounding
    assert rdp(gaussian(sigma, q), order + 1) >= cost * (1 - 1e-12) - rounding


@settings(deadline=None)
@given(st.floats(min_value=1e-9, max_value=100.0), orders)
def test_a_pure_release_stays_under_both_known_bounds(epsilon: float, order: int) -> None:
    # Bun and Steinke, arXiv:1605.02065, Proposition 3.3: pure ε-DP is α·ε²/2-RDP; and ε-RDP at every order.
    cost = rdp(pure(epsilon), order)
    assert 0 < cost <= min(order * epsilon**2 / 2, epsilon) * (1 + 1e-7)


@settings(deadline=None)
@given(st.floats(min_value=1e-3, max_value=20.0), orders)
def test_a_pure_release_costs_what_randomised_response_costs(epsilon: float, order: int) -> None:
    p = 1 / (1 + math.exp(-epsilon))
    r = 1 / (1 + math.exp(epsilon))
    logs = [order * math.log(p) + (1 - order) * math.log(r), order * math.log(r) + (1 - order) * math.log(p)]
    direct = (max(logs) + math.log1p(math.exp(-abs(logs[0] - logs[1])))) / (order - 1)
    assert rdp(pure(epsilon), order) == pytest.approx(direct, rel=1e-6, abs=1e-12)


def test_integer_laplace_is_dearer_than_the_librarys_laplace() -> None:
    laplace = math.log(8 / 15 * math.exp(0.7) + 7 / 15 * math.exp(-0.8)) / 7  # Laplace of scale 10 at order 8
    assert rdp(pure(0.1), 8) > 1.02 * laplace


def test_next_to_no_noise_is_charged_infinitely() -> None:
    for sigma in (0.00999, 1e-9, 1e-160, 5e-324):
        assert rdp(gaussian(sigma, 1e-9), 8) == math.inf
    assert rdp(gaussian(0.01, 1e-300), 2) > 1000


@pytest.mark.parametrize("order", [1, 0, -3, 2.0, 8.1, True, "8", None])
def test_an_order_that_is_no_integer_above_one_is_refused(order: object) -> None:
    with pytest.raises(AlmonerError, match="integer of at least 2"):
        rdp(gaussian(), order)


def test_sums_and_epsilon_over_orders_agree_with_the_library() -> None:
    events = (gaussian(1.1, 256 / 60000, 14062), pure(0.1, 3))
    total = [total_rdp(events, order) for order in ORDERS]
    assert total[0] == rdp(events[0], 2) + rdp(events[1], 2)
    assert rdp_epsilon(events, 1e-5) == pytest.approx(compute_epsilon(ORDERS, total, 1e-5)[0], rel=1e-12)


def test_nothing_released_is_epsilon_zero() -> None:
    assert total_rdp((), 8) == 0
    assert rdp_epsilon((), 1e-5) == 0
