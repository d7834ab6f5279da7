import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from almoner.errors import ProtocolError
from almoner.training.units import UnitRecords
from almoner.workloads.heart_disease import NUM_FEATURES, HeartDisease
from almoner.workloads.metrics import accuracy, auc, correct_labels

TASK = HeartDisease()
BIAS_ONLY = np.array([0.0] * NUM_FEATURES + [1.0])


def records(targets: list[float]) -> UnitRecords:
    number = len(targets)
    return UnitRecords(torch.zeros(number, NUM_FEATURES), torch.tensor(targets), np.arange(number))


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), max_size=30))
def test_auc_is_the_share_of_pairs_in_order(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in pairs], dtype=np.float64)
    positive = np.array([label for _, label in pairs], dtype=np.bool_)
    wins = [(p > n) + (p == n) / 2 for p in scores[positive] for n in scores[~positive]]
    if wins:
        assert auc(scores, positive) == pytest.approx(sum(wins) / len(wins))
    else:
        assert math.isnan(auc(scores, positive))


def test_accuracy_counts_correct_labels() -> None:
    some = records([1.0, 1.0, 0.0, 1.0])
    assert correct_labels(TASK, BIAS_ONLY, some).tolist() == [True, True, False, True]
    assert accuracy(TASK, BIAS_ONLY, some) == 0.75
    assert accuracy(TASK, -BIAS_ONLY, some) == 0.25


def test_accuracy_of_no_records_is_nan() -> None:
    assert math.isnan(accuracy(TASK, BIAS_ONLY, records([])))


def test_weights_of_another_model() -> None:
    with pytest.raises(ProtocolError):
        accuracy(TASK, BIAS_ONLY[:-1], records([1.0]))
