import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_cases import gaussian, pure

from almoner.errors import AlmonerError, PolicyViolation
from almoner.privacy.budget import CHARGE_GRID, RenyiFilter, charge_of, open_filter
from almoner.privacy.rdp import total_rdp

caps = st.floats(min_value=0.1, max_value=100.0)
deltas = st.floats(min_value=1e-9, max_value=0.05)


@pytest.mark.parametrize(
    ("cap", "delta", "order"),
    [(3.0, 1e-4, 6), (8.0, 1e-4, 3), (1.0, 1e-4, 14), (3.0, 1e-5, 8), (8.0, 1e-5, 4), (1.0, 1e-5, 18)],
)
def test_the_order_with_the_largest_share(cap: float, delta: float, order: int) -> None:
    assert open_filter(cap, delta).order == order


@settings(deadline=None)
@given(caps, deltas)
def test_no_other_order_has_a_larger_share(cap: float, delta: float) -> None:
    opened = open_filter(cap, delta)
    for order in (opened.order - 1, opened.order + 1, 2, 32, 512):
        if 2 <= order <= 512:
            budget = cap - math.log((order - 1) / order) + (math.log(delta) + math.log(order)) / (order - 1)
            assert budget / order <= opened.budget / opened.order + 1e-9


@settings(deadline=None)
@given(caps, deltas, st.floats(min_value=0.0, max_value=1.0))
def test_a_sum_within_the_budget_never_converts_above_the_cap(cap: float, delta: float, share: float) -> None:
    opened = open_filter(cap, delta)
    assert opened.epsilon_of(opened.budget) <= cap
    assert opened.epsilon_of(opened.budget) == pytest.approx(cap, abs=1e-9)
    assert 0 <= opened.epsilon_of(share * opened.budget) <= cap
    assert opened.epsilon_of(0.0) == 0.0
    assert opened.epsilon_of(opened.budget * 1.001) > cap


@settings(deadline=None)
@given(caps, deltas, st.floats(min_value=1e-6, max_value=1.0))
def test_the_conversion_is_the_definition(cap: float, delta: float, share: float) -> None:
    # arXiv:2004.00010, Proposition 12: δ = exp((α-1)(ρ-ε)) / α · (1-1/α)^α · α/(α-1), solved for δ
    opened = open_filter(cap, delta)
    rho, alpha = share * opened.budget, opened.order
    epsilon = opened.epsilon_of(rho)
    reached = math.exp((alpha - 1) * (rho - epsilon)) / (alpha - 1) * (1 - 1 / alpha) ** alpha
    assert reached <= delta * (1 + 1e-9)


def test_fits_up_to_the_budget_and_not_beyond() -> None:
    opened = open_filter(3.0, 1e-4)
    assert opened.fits(0.0, 0.0)
    assert opened.fits(0.0, opened.budget)
    assert opened.fits(opened.budget, 0.0)
    assert not opened.fits(opened.budget, CHARGE_GRID)
    assert not opened.fits(CHARGE_GRID, opened.budget)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1e-300, -1.0])
def test_a_number_that_is_no_charge_never_fits(bad: float) -> None:
    opened = open_filter(3.0, 1e-4)
    assert not opened.fits(0.5, bad)
    assert not opened.fits(bad, 0.5)


@pytest.mark.parametrize("bad", [math.nan, -1e-300, -1.0])
def test_a_sum_that_is_no_sum_is_refused(bad: float) -> None:
    with pytest.raises(AlmonerError, match="verify the ledger"):
        open_filter(3.0, 1e-4).epsilon_of(bad)


@pytest.mark.parametrize(
    ("cap", "delta", "order"),
    [(3.0, 1e-4, 2), (0.0, 1e-4, 8), (101.0, 1e-4, 8), (3.0, 0.0, 8), (3.0, 1.0, 8), (3.0, 1e-4, 1), (3.0, 1e-4, 8.0)],
)
def test_a_filter_without_budget_or_sense_is_refused(cap: float, delta: float, order: int) -> None:
    with pytest.raises(PolicyViolation, match="account"):
        RenyiFilter(cap, delta, order)


@pytest.mark.parametrize(("cap", "delta"), [(0.001, 1e-6), (0.0, 1e-4), (1.0, 0.0), (math.nan, 1e-4)])
def test_an_account_that_can_hold_nothing_is_refused(cap: float, delta: float) -> None:
    with pytest.raises(PolicyViolation, match="account"):
        open_filter(cap, delta)


def test_the_budget_cannot_be_given() -> None:
    with pytest.raises(TypeError):
        RenyiFilter(3.0, 1e-4, 6, 100.0)  # type: ignore[call-arg]


events = st.one_of(
    st.builds(gaussian, st.floats(0.5, 100), st.floats(0.001, 1.0), st.integers(1, 100)),
    st.builds(pure, st.floats(1e-6, 5.0), st.integers(1, 10)),
)


@pytest.mark.threat("T-04")
@settings(deadline=None)
@given(events, st.sampled_from([2, 6, 8, 18]))
def test_a_charge_is_rounded_up_to_the_grid(event: object, order: int) -> None:
    charge, divergence = charge_of((event,), order), total_rdp((event,), order)
    assert divergence <= charge
    if divergence <= 1000:
        assert charge <= divergence + CHARGE_GRID
        assert (charge / CHARGE_GRID).is_integer()


@settings(deadline=None)
@given(st.lists(st.integers(0, 200 * 2**40), max_size=40), st.randoms())
def test_sums_on_the_grid_are_exact_in_any_order(units: list[int], random: object) -> None:
    charges = [unit * CHARGE_GRID for unit in units]
    exact = sum((Fraction(charge) for charge in charges), Fraction(0))
    random.shuffle(charges)
    total = 0.0
    for charge in charges:
        total += charge
    assert Fraction(total) == exact
    for charge in charges:
        total -= charge
    assert total == 0.0


def test_too_large_a_charge_is_kept_and_never_fits() -> None:
    charge = charge_of((gaussian(0.3, 0.5, 10_000),), 6)
    assert 1000 < charge < math.inf
    assert not open_filter(100.0, 1e-4).fits(0.0, charge)
