import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from almoner.errors import PolicyViolation
from almoner.training.grid import UpdateGrid, apply_update, update_grid
from almoner.training.sampling import sample_bound

POWERS = st.integers(-40, 20).map(lambda exponent: 2.0**exponent)


@pytest.mark.parametrize("step", [0.0, -1.0, 0.3, 3.0, math.inf, math.nan])
def test_a_step_that_is_no_power_of_two_is_refused(step: float) -> None:
    with pytest.raises(PolicyViolation, match="power of two"):
        UpdateGrid(step)


@pytest.mark.parametrize("limit", [0, -1, 2**53 + 1])
def test_a_bad_limit_is_refused(limit: int) -> None:
    with pytest.raises(PolicyViolation, match="limit"):
        UpdateGrid(1.0, limit)


@given(step=POWERS, values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_rounding_is_to_the_nearest_point(step: float, values: list[float]) -> None:
    array = np.array(values)
    integers = UpdateGrid(step, 2**50).to_integers(array)
    assert integers.dtype == np.int64
    assert bool((np.abs(integers * step - array) <= step / 2).all())


@given(
    step=POWERS,
    pair=st.integers(1, 10).flatmap(
        lambda size: st.tuples(
            *[st.lists(st.floats(-1e4, 1e4), min_size=size, max_size=size) for _ in range(2)],
        )
    ),
)
def test_rounding_adds_less_than_step_root_d_to_a_distance(step: float, pair: tuple[list[float], list[float]]) -> None:
    first, second = (np.array(part) for part in pair)
    grid = UpdateGrid(step, 2**50)
    moved = np.linalg.norm((grid.to_integers(first) - grid.to_integers(second)) * step)
    assert moved <= grid.sensitivity(float(np.linalg.norm(first - second)), len(first)) * (1 + 1e-12)


def test_saturation() -> None:
    grid = UpdateGrid(0.5, 10)
    values = np.array([-1e300, -5.5, -5.0, 0.2, 0.3, 5.0, 2.0**40, 2.0**63])
    assert grid.to_sent(values).tolist() == [-10, -10, -10, 0, 1, 10, 10, 10]


@given(
    norm=st.floats(1e-3, 1e3),
    prob=st.floats(0.001, 1),
    sigma=st.floats(0, 20),
    records=st.integers(1, 10**6),
    steps=st.integers(1, 20),
    bits=st.integers(4, 16),
)
def test_signal_and_eight_sigma_fit_as_closely_as_the_noise_allows(
    norm: float, prob: float, sigma: float, records: int, steps: int, bits: int
) -> None:
    limit = 2 ** (bits - 1) - 1
    grid = update_grid(norm, prob, sigma, records, steps, limit)
    signal = steps * sample_bound(records, prob) * norm
    deviation = math.sqrt(steps) * sigma * norm
    reach = signal + 8 * deviation
    assert grid.limit == limit
    fits = reach / grid.step + 0.5 <= limit
    if fits:
        assert 2 * reach / grid.step + 1 > limit * (1 - 1e-9) or grid.step * 2 > deviation > 0
    else:  # not coarser than the noise
        assert grid.step <= deviation < 2 * grid.step


def test_grid_of_the_heart_job() -> None:
    assert update_grid(1.0, 0.5, 7.3, 212, 1) == UpdateGrid(2.0**-7)


def test_update_is_the_mean_gradient_step() -> None:
    weights = np.array([1.0, 2.0])
    moved = apply_update(weights, np.array([4, -8]), UpdateGrid(0.25), 2.0, 0.5, 10)
    assert moved.tolist() == [1.0 - 2.0 * 1.0 / 5, 2.0 + 2.0 * 2.0 / 5]
    assert weights.tolist() == [1.0, 2.0]


@given(
    totals=st.lists(st.tuples(st.integers(-32_767, 32_767), st.integers(1, 1000)), min_size=1, max_size=5),
    rate=st.floats(0.01, 10),
)
def test_sum_of_updates_is_fedavg_by_declared_size(totals: list[tuple[int, int]], rate: float) -> None:
    start, grid, all_records = np.array([0.5]), UpdateGrid(2.0**-7), sum(size for _, size in totals)
    average = sum(size / all_records * apply_update(start, np.array([t]), grid, rate, 0.5, size) for t, size in totals)
    summed = apply_update(start, np.array([sum(t for t, _ in totals)]), grid, rate, 0.5, all_records)
    assert summed == pytest.approx(average, rel=1e-9, abs=1e-9)
