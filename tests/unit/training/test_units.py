import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from almoner.errors import DataError
from almoner.training.units import UnitData, UnitRecords, at_most, bound_records, number_units


def test_counts_units_not_records() -> None:
    records = UnitRecords(torch.zeros(4, 2), torch.zeros(4), np.array([1, 0, 1, 1]))
    assert records.num_units == 2


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_units_are_numbered_as_their_ids_are_ordered(ids: list[str]) -> None:
    assert number_units(ids).tolist() == np.unique(np.array(ids, np.str_), return_inverse=True)[1].tolist()


@pytest.mark.threat("T-112")
def test_a_long_id_costs_no_other_record_and_ids_are_not_cut() -> None:
    ids = [*(str(number) for number in range(300)), "x" * 30_000, "1\0"]

    def peak(work: object) -> int:
        tracemalloc.start()
        try:
            work()  # type: ignore[operator]
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(lambda: np.array(ids, np.str_)) > 10**7, "as an array it takes what the longest takes, for each"
    assert peak(lambda: number_units(ids)) < 10**6
    assert len(set(number_units(ids).tolist())) == 302, "an array of text would lose the zero at the end"


def test_no_records_are_no_units() -> None:
    assert UnitRecords(torch.zeros(0, 2), torch.zeros(0), np.empty(0, np.int64)).num_units == 0


@pytest.mark.parametrize("unit", [[0, 2], [1, 2], [-1, 0]])
def test_gaps_are_refused(unit: list[int]) -> None:
    with pytest.raises(DataError, match="gaps"):
        UnitRecords(torch.zeros(2, 2), torch.zeros(2), np.array(unit))


@pytest.mark.parametrize("lengths", [(2, 1, 1), (1, 2, 1), (1, 1, 2)])
def test_lengths_must_agree(lengths: tuple[int, int, int]) -> None:
    with pytest.raises(DataError, match="length"):
        UnitRecords(torch.zeros(lengths[0], 2), torch.zeros(lengths[1]), np.arange(lengths[2]))


def many(unit: list[int], seed: int = 0) -> UnitRecords:
    """Return records that all differ."""
    features = torch.randn(len(unit), 2, generator=torch.Generator().manual_seed(seed))
    return UnitRecords(features, torch.arange(len(unit)), np.array(unit, np.int64))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 8))
def test_no_unit_has_more_than_the_limit_and_none_goes(drawn: list[int], limit: int) -> None:
    unit = np.unique(drawn, return_inverse=True)[1]
    found = at_most(many(unit.tolist()), limit)
    assert np.array_equal(np.bincount(found.unit), np.minimum(np.bincount(unit), limit))
    assert torch.equal(found.targets, found.targets.sort().values), "the order is kept"
    assert torch.equal(found.features, many(unit.tolist()).features[found.targets])


@pytest.mark.threat("T-109")
def test_the_order_of_records_does_not_choose_them() -> None:
    data = many([0, 1] * 10)
    turned = UnitRecords(data.features.flip(0), data.targets.flip(0), data.unit[::-1].copy())
    assert set(at_most(data, 3).targets.tolist()) == set(at_most(turned, 3).targets.tolist())


def test_of_equal_records_one_is_as_good_as_another() -> None:
    data = UnitRecords(torch.full((5, 2), torch.nan), torch.zeros(5), np.zeros(5, np.int64))
    assert len(at_most(data, 2).targets) == 2
    nobody = UnitRecords(torch.zeros(0, 2), torch.zeros(0), np.empty(0, np.int64))
    assert at_most(nobody, 2).num_units == 0


def test_without_a_limit_all_that_was_loaded_stays() -> None:
    data = UnitData(many([0, 0, 0]), many([0, 0]))
    assert bound_records(data, None) is data
    bounded = bound_records(data, 1)
    assert (len(bounded.train.targets), len(bounded.test.targets)) == (1, 1)
