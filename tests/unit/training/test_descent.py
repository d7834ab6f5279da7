"""The steps that all sites take alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from almoner.training.descent import Descent
from almoner.training.grid import UpdateGrid, apply_update

GRID = UpdateGrid(2.0**-7)
TOTALS = st.lists(st.lists(st.integers(-100_000, 100_000), min_size=3, max_size=3), min_size=1, max_size=6)
START = np.array([1.0, -2.0, 0.5])


@given(totals=TOTALS, rate=st.floats(0.01, 10))
def test_without_momentum_it_is_the_plain_step_to_the_last_bit(totals: list[list[int]], rate: float) -> None:
    descent, weights = Descent(START, GRID, rate, 0.5), START
    for total in totals:
        descent.apply(np.array(total), 100)
        weights = apply_update(weights, np.array(total), GRID, rate, 0.5, 100)
    assert descent.weights.tobytes() == weights.tobytes()


def test_momentum_adds_up_as_the_formula_says() -> None:
    descent, velocity, weights = Descent(START, GRID, 2.0, 0.5, server_momentum=0.9), np.zeros(3), START
    for total, nominal in (([4, -8, 1], 10), ([1, 1, 1], 20), ([0, 0, 0], 10)):
        velocity = 0.9 * velocity + 2.0 * 2.0**-7 * np.array(total) / (0.5 * nominal)
        weights = weights - velocity
        descent.apply(np.array(total), nominal)
    assert descent.weights == pytest.approx(weights, rel=1e-12)
    assert not np.array_equal(descent.weights, START)


@given(totals=TOTALS, momentum=st.floats(0, 0.99))
def test_equal_totals_give_equal_bits(totals: list[list[int]], momentum: float) -> None:
    sites = [Descent(START.copy(), GRID, 0.3, 0.7, momentum) for _ in range(2)]
    for total in totals:
        for site in sites:
            site.apply(np.array(total), 333)
    assert sites[0].weights.tobytes() == sites[1].weights.tobytes()


def test_the_callers_weights_are_left_alone() -> None:
    weights = START.copy()
    Descent(weights, GRID, 1.0, 0.5, 0.5).apply(np.array([1, 2, 3]), 10)
    assert np.array_equal(weights, START)
