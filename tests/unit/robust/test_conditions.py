"""The papers' conditions, as numbers."""

import typing

import pytest

from almoner.errors import PolicyViolation
from almoner.robust.conditions import min_rows, require
from almoner.schema import aggregation

LEAST = {
    "krum": (3, 5, 7, 9),
    "multi_krum": (3, 5, 7, 9),
    "bulyan": (3, 7, 11, 15),
    "median": (1, 3, 5, 7),
    "trimmed_mean": (1, 3, 5, 7),
    "geometric_median": (1, 3, 5, 7),
    "centered_clipping": (1, 10, 20, 30),
    "norm_clipped_mean": (1, 3, 5, 7),
}


@pytest.mark.parametrize("kind", LEAST)
def test_least_numbers_of_rows(kind):
    assert tuple(min_rows(kind, f) for f in range(4)) == LEAST[kind]
    for f, least in enumerate(LEAST[kind]):
        require(kind, least, f)
        with pytest.raises(PolicyViolation, match=f"{kind} needs {least} rows .*arXiv|NeurIPS"):
            require(kind, least - 1, f)


@pytest.mark.parametrize("kind", LEAST)
def test_buckets_must_be_as_many_as_rows_would(kind):
    for f in range(4):
        least = min_rows(kind, f, ("bucketing",))
        assert -(-least // 2) == LEAST[kind][f]
        assert least == 1 or -(-(least - 1) // 2) < LEAST[kind][f]
    assert min_rows(kind, 1, ("nearest_neighbour_mixing", "static_clipping")) == LEAST[kind][1]


def test_all_kinds_are_those_of_a_job():
    assert set(LEAST) == set(typing.get_args(aggregation.RuleKind))
    assert {*typing.get_args(aggregation.RuleKind), *typing.get_args(aggregation.PreAggregationKind)} > {
        *aggregation.CLIPPING
    }
