"""Distances from matrix products: right to their stated error, whoever sends what."""

import numpy as np
import pytest

from almoner.robust import distances as module
from almoner.robust.admit import admit
from almoner.robust.cloud import Cloud
from almoner.robust.distances import exact_distance, relative_error, squared_distances, squared_norms


def cloud_of(rows: np.ndarray) -> Cloud:
    return admit(rows.astype(np.float32), np.ones(len(rows)), 0)


def pairwise(rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float32).astype(np.float64)
    return np.array([[((one - other) ** 2).sum() for other in wide] for one in wide])


def normal(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dimension))


def nested(count: int, dimension: int) -> np.ndarray:
    """Rows that are close to each other beside all before: each needs an origin of its own."""
    return normal(count, dimension) * 1000.0 ** -np.arange(count)[:, None]


CASES = {
    "plain": normal(9, 20_000),
    "an offset in common": normal(9, 5000) * 1e-3 + 4000,
    "one row far away": np.concatenate([np.full((1, 5000), 2.0**49), normal(8, 5000) * 1e-3]),
    "two far away and near each other": np.concatenate([2.0**40 + normal(2, 5000) * 1e6, normal(7, 5000) * 1e-3]),
    "squares underflow float32": normal(7, 5000) * 1e-25,
    "nested": nested(8, 300),
    "many": normal(50, 3000) + 30,
    "one column": normal(20, 1),
}


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_each_distance_is_within_the_stated_error(case, precision):
    rows = CASES[case]
    found, true = squared_distances(cloud_of(rows), precision), pairwise(rows)
    assert np.array_equal(found, found.T)
    assert np.all(np.abs(found - true) <= relative_error(cloud_of(rows), precision) * true)
    assert np.abs(found - true).max() <= 1e-5 * true.max()


def test_a_product_about_zero_alone_is_far_off(monkeypatch):
    rows = CASES["one row far away"] + 4000
    monkeypatch.setattr(module, "_TRUSTED", {np.float32: 0.0, np.float64: 0.0})
    naive, true = squared_distances(cloud_of(rows)), pairwise(rows)
    honest = np.ix_(range(1, 9), range(1, 9))
    assert np.abs(naive[honest] - true[honest]).max() > 0.9 * true[honest].max()


@pytest.mark.parametrize("value", [0.0, 1e-30, 3.0, 2.0**49])
def test_just_equal_rows_have_distance_zero(value):
    rows = np.full((6, 4000), value, dtype=np.float32)
    rows[5, 3999] = np.nextafter(np.float32(value), np.float32(np.inf))
    for precision in (np.float32, np.float64):
        assert np.array_equal(squared_distances(cloud_of(rows), precision) == 0, pairwise(rows) == 0)


def test_the_stated_errors_are_small():
    cloud = cloud_of(normal(10, 100_000))
    assert relative_error(cloud, np.float64) < 1e-8
    assert relative_error(cloud, np.float32) < 0.01


@pytest.mark.parametrize("dimension", [1, 4095, 4096, 4097, 9000])
def test_exact_sums_are_those_of_float64(dimension):
    rows = normal(3, dimension).astype(np.float32)
    cloud = cloud_of(rows)
    np.testing.assert_allclose(exact_distance(cloud, 0, 2), pairwise(rows)[0, 2], rtol=1e-12)
    np.testing.assert_allclose(squared_norms(cloud), (rows.astype(np.float64) ** 2).sum(axis=1), rtol=1e-12)
    assert exact_distance(cloud, 0, 2) == exact_distance(cloud, 2, 0)


def test_exact_sums_have_one_order():
    """What elementwise addition of lanes gives, written out: no machine may sum otherwise."""
    row = (np.random.default_rng(1).standard_normal(8192 + 5) * 1e3).astype(np.float32)
    lanes = [0.0] * 4096
    for place, entry in enumerate(row.tolist()):
        lanes[place % 4096] += entry * entry
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [one + other for one, other in zip(lanes[:half], lanes[half:], strict=True)]
    assert squared_norms(cloud_of(row[None]))[0] == lanes[0]
