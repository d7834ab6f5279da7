import numpy as np
import pytest
import torch

from almoner.errors import DataError
from almoner.training.units import UnitRecords


def test_counts_units_not_records() -> None:
    records = UnitRecords(torch.zeros(4, 2), torch.zeros(4), np.array([1, 0, 1, 1]))
    assert records.num_units == 2


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
