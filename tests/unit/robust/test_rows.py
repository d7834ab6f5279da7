"""Integers to mean updates and back: what a plain sum gives, and nothing that a sender could claim."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from almoner.errors import ProtocolError
from almoner.robust.rows import INT32_MAX, integer_total, mean_rows

STEP, PROB = 2.0**-7, 0.25


@given(st.lists(st.tuples(st.integers(-32_767, 32_767), st.integers(1, 10**6)), min_size=1, max_size=8))
def test_the_weighted_mean_of_the_rows_is_the_plain_sum(sent: list[tuple[int, int]]) -> None:
    values = np.array([[value] for value, _ in sent])
    sizes = np.array([float(size) for _, size in sent])
    mean = np.average(mean_rows(values, sizes, STEP, PROB), axis=0, weights=sizes).astype(np.float32)
    total = integer_total(mean, float(sizes.sum()), STEP, PROB)
    assert abs(int(total[0]) - int(values.sum())) <= 0.5 + 2.0**-20 * np.abs(values).sum() * len(sent)


def test_rows_are_in_the_unit_of_a_record() -> None:
    rows = mean_rows(np.array([[128, -256], [128, 0]]), np.array([4.0, 8.0]), STEP, PROB)
    assert rows.dtype == np.float32
    assert rows.tolist() == [[1.0, -2.0], [0.5, 0.0]]


def test_a_total_saturates() -> None:
    total = integer_total(np.array([1e30, -1e30, 0.0], dtype=np.float32), 1e9, STEP, PROB)
    assert total.tolist() == [INT32_MAX, -INT32_MAX, 0]


@pytest.mark.parametrize("sizes", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, np.nan]])
def test_every_row_needs_a_size(sizes: list[float]) -> None:
    with pytest.raises(ProtocolError, match="one positive size"):
        mean_rows(np.zeros((2, 3), dtype=np.int64), np.array(sizes), STEP, PROB)
