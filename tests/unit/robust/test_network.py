"""Sorting networks, by the 0-1 principle: what is right for all rows of zeros and ones is right for all rows."""

import itertools

import numpy as np
import pytest

from almoner.robust.admit import admit
from almoner.robust.network import NETWORK_ROWS, full_network, reduce_columns, trimming_network


def zeros_and_ones(num_rows: int) -> np.ndarray:
    return np.array(list(itertools.product([0, 1], repeat=num_rows)), dtype=np.float32).T


def cloud_of(rows: np.ndarray):
    return admit(np.ascontiguousarray(rows, dtype=np.float32), np.ones(len(rows)), 0)


def columns_after(rows: np.ndarray, comparators) -> np.ndarray:
    rows = rows.copy()
    for low, high in comparators:
        rows[low], rows[high] = np.minimum(rows[low], rows[high]), np.maximum(rows[low], rows[high])
    return rows


@pytest.mark.parametrize("num_rows", range(1, 13))
def test_the_full_network_sorts(num_rows):
    rows = zeros_and_ones(num_rows)
    assert np.array_equal(columns_after(rows, full_network(num_rows)), np.sort(rows, axis=0))


@pytest.mark.parametrize(("num_rows", "cut"), [(n, f) for n in range(1, 12) for f in range((n + 1) // 2)])
def test_the_trimming_network_parts_middle_and_ends(num_rows, cut):
    rows = zeros_and_ones(num_rows)
    found, middle = columns_after(rows, trimming_network(num_rows, cut)), slice(cut, num_rows - cut)
    assert np.array_equal(np.sort(found[middle], axis=0), np.sort(rows, axis=0)[middle])


@pytest.mark.parametrize(("num_rows", "cut", "comparators"), [(10, 1, 13), (20, 1, 28), (10, 4, 29), (50, 11, 334)])
def test_trimming_takes_fewer_comparators_than_sorting(num_rows, cut, comparators):
    assert len(trimming_network(num_rows, cut)) == comparators < len(full_network(num_rows))


@pytest.mark.parametrize("num_rows", [1, 2, NETWORK_ROWS, NETWORK_ROWS + 1, 50])
@pytest.mark.parametrize("dimension", [1, 70_001])
def test_both_ways_of_sorting_reduce_every_column_once(num_rows, dimension):
    rows = np.random.default_rng(3).standard_normal((num_rows, dimension)).astype(np.float32)

    def weigh(sorted_rows, out):
        out[...] = sum(weight * row for weight, row in enumerate(sorted_rows, start=1))

    found = reduce_columns(cloud_of(rows), full_network(num_rows), weigh)
    expected = np.arange(1, num_rows + 1) @ np.sort(rows.astype(np.float64), axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_no_result_is_the_negative_zero():
    rows = np.array([[-0.0, 0.0, -0.0], [-0.0, -0.0, 0.0], [-0.0, 0.0, 0.0]], dtype=np.float32)
    found = reduce_columns(cloud_of(rows), full_network(3), lambda ranked, out: np.copyto(out, ranked[0]))
    assert not np.signbit(found).any()
