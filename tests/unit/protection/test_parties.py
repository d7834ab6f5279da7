"""The threshold: the figures of the design, and the two properties that everything else rests on."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almoner.errors import ProtocolError
from almoner.protection.parties import Parties, quorum
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec


@pytest.mark.parametrize(
    ("num_sites", "colluding", "threshold"),
    [(3, 1, 3), (4, 1, 3), (5, 1, 4), (10, 1, 6), (10, 3, 7), (50, 11, 31), (4, 2, 4), (50, 48, 50)],
)
def test_thresholds(num_sites: int, colluding: int, threshold: int) -> None:
    assert Parties(num_sites, colluding).threshold == threshold


@pytest.mark.parametrize(
    ("num_sites", "colluding", "text"),
    [
        (2, 1, "2 sites → this protection needs 3 to 50"),
        (51, 1, "51 sites"),
        (5, 0, "num_colluding_sites 0 → at least 1"),
        (5, -1, "at least 1"),
        (3, 2, "3 sites cannot withstand 2 colluding ones: it takes 4"),
        (50, 49, "it takes 51"),
    ],
)
def test_refusals(num_sites: int, colluding: int, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        Parties(num_sites, colluding)


def spec_of(colluding: int, min_sites: int) -> JobSpec:
    spec = load_document(Path("jobs/heart_disease_secagg.yaml"), JobSpec)
    aggregation = spec.aggregation.model_copy(update={"num_colluding_sites": colluding})
    return spec.model_copy(update={"aggregation": aggregation, "min_sites": min_sites})


def test_a_quorum_is_the_larger_of_what_the_job_wants_and_what_its_protection_takes() -> None:
    assert quorum(spec_of(1, 2), 10) == 6
    assert quorum(spec_of(1, 8), 10) == 8
    plain = load_document(Path("jobs/bank_credit_plain.yaml"), JobSpec)
    assert quorum(plain, 1) == plain.min_sites
    with pytest.raises(ProtocolError, match="2 sites"):
        quorum(spec_of(1, 2), 2)


@given(st.integers(3, 50), st.integers(1, 48))
def test_overlap_and_two_honest_sites(n: int, c: int) -> None:
    if max((n + c) // 2 + 1, c + 2) > n:
        return
    t = Parties(n, c).threshold
    assert t <= n
    assert 2 * t - n > c  # two sets of t share more sites than collude
    assert t - c >= 2
    assert 2 * (t - 1) - n <= c or t - 1 < c + 2  # and no smaller t would do
