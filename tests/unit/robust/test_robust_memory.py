"""No rule copies the rows: beyond them and the result it takes less than one update."""

import tracemalloc

import numpy as np
import pytest

from almoner.robust.rules import make_rule

DIMENSION = 1_000_000
UPDATE = 4 * DIMENSION
KINDS = ["krum", "multi_krum", "bulyan", "median", "trimmed_mean", "geometric_median", "norm_clipped_mean"]


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((10, DIMENSION), dtype=np.float32)


def peak(rule, rows: np.ndarray) -> int:
    """The largest growth while the rule runs, in bytes, its result included."""
    rule.aggregate(rows[:, :1000].copy(), np.ones(len(rows)))
    tracemalloc.start()
    try:
        rule.aggregate(rows, np.ones(len(rows)))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_takes_less_than_an_update_beside_its_result(rows, kind):
    assert UPDATE <= peak(make_rule(kind, 1, (), 1.0), rows) <= 2 * UPDATE


@pytest.mark.parametrize("pre", ["nearest_neighbour_mixing", "static_clipping", "bucketing"])
def test_so_does_one_after_a_pre_aggregation(rows, pre):
    assert peak(make_rule("median", 1, (pre,), 1.0, b"s"), rows) <= 2 * UPDATE


def test_so_does_one_that_drops_a_row(rows):
    spoilt = rows.copy()
    spoilt[3, -1] = np.nan
    for kind in ("median", "geometric_median", "multi_krum"):
        assert peak(make_rule(kind, 1), spoilt) <= 2 * UPDATE
