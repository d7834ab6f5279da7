"""Stochastic rounding: within one step, right on average, clipped, and never refusing a value."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.errors import ProtocolError
from almoner.secagg.blocks import BLOCK_VALUES
from almoner.secagg.quantise import quantise

STEP, LIMIT = 2.0**-10, 32_767


@given(
    st.lists(st.floats(-40, 40, width=32), min_size=1, max_size=50),
    st.sampled_from([np.float32, np.float64]),
    st.binary(min_size=32, max_size=32),
)
@settings(max_examples=100, deadline=None)
def test_each_result_is_a_neighbour_on_the_grid(values, dtype, key):
    given_values = np.array(values, dtype=dtype)
    result = quantise(given_values, STEP, LIMIT, key)
    exact = np.clip(given_values.astype(np.float64) / STEP, -LIMIT, LIMIT)
    assert result.dtype == np.int32
    assert (np.floor(exact) <= result).all()
    assert (result <= np.ceil(exact)).all()


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.9])
def test_the_mean_is_right(fraction):
    """400,000 draws: standard deviation of the mean below 0.0008; five of them, false alarm below 1e-6."""
    values = np.full(400_000, (3 + fraction) * STEP, dtype=np.float32)
    result = quantise(values, STEP, LIMIT, b"k" * 32)
    assert set(np.unique(result)) == {3, 4}
    assert abs(result.mean() - 3 - fraction) < 0.004
    assert abs(quantise(-values, STEP, LIMIT, b"j" * 32).mean() + 3 + fraction) < 0.004


def test_nothing_is_refused_for_its_value():
    values = np.array([np.nan, np.inf, -np.inf, 1e38, -1e38, 0.0], dtype=np.float32)
    assert quantise(values, STEP, LIMIT).tolist() == [0, LIMIT, -LIMIT, LIMIT, -LIMIT, 0]


def test_blocks_do_not_share_randomness_and_input_is_not_modified():
    values = np.full(2 * BLOCK_VALUES + 1, 0.5 * STEP, dtype=np.float32)
    values.flags.writeable = False
    result = quantise(values, STEP, LIMIT, b"k" * 32)
    assert not np.array_equal(result[:BLOCK_VALUES], result[BLOCK_VALUES : 2 * BLOCK_VALUES])
    assert np.array_equal(result, quantise(values, STEP, LIMIT, b"k" * 32))
    assert not np.array_equal(result, quantise(values, STEP, LIMIT))


@pytest.mark.parametrize(("step", "limit"), [(0, 10), (-1, 10), (np.inf, 10), (np.nan, 10), (1.0, 0), (1.0, 2**31)])
def test_parameters_out_of_range_are_refused(step, limit):
    with pytest.raises(ProtocolError, match="out of range"):
        quantise(np.zeros(3, dtype=np.float32), step, limit)


@pytest.mark.parametrize("values", [np.zeros(3, dtype=np.int64), np.zeros((2, 2), dtype=np.float32)])
def test_other_shapes_and_types_are_refused(values):
    with pytest.raises(ProtocolError, match="no vector of floats"):
        quantise(values, STEP, LIMIT)


@pytest.mark.parametrize("limit", [1, LIMIT, LIMIT + 1, 2**24 + 1, 2**31 - 1])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_no_limit_wraps(limit, dtype):
    """The ends of the range in every arithmetic, 1000 draws each: all bits of a drawn number are added to them."""
    for value, end in ((np.inf, limit), (-np.inf, -limit), (1.0, 1), (-1.0, -1)):
        assert (quantise(np.full(1000, value, dtype=dtype), 1.0, limit) == end).all()


@pytest.mark.parametrize(("dtype", "step"), [(np.float64, STEP), (np.float32, 0.001)])
def test_the_mean_is_right_in_float64(dtype, step):
    """As `test_the_mean_is_right`, where float32 does not do: 400,000 draws, false alarm below 1e-6."""
    values = np.full(400_000, 3.25 * step, dtype=dtype)
    assert abs(quantise(values, step, LIMIT, b"k" * 32).mean() - 3.25) < 0.004
