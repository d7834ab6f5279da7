import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from almoner.errors import ProtocolError
from almoner.training.units import UnitRecords
from almoner.workloads.bank_credit import BankCredit
from almoner.workloads.heart_disease import NUM_FEATURES, HeartDisease
from almoner.workloads.metrics import accuracy, auc, average_precision, correct_labels

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


@pytest.mark.parametrize(
    ("scores", "positive", "expected"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], (1 + 2 / 3) / 2),
        ([0.9, 0.8, 0.7, 0.6], [0, 0, 0, 1], 1 / 4),
        ([0.6, 0.7, 0.8, 0.9], [0, 0, 1, 1], 1.0),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], 1 / 4),
        ([0.9, 0.5, 0.5, 0.1], [0, 1, 0, 1], (1 / 3 + 2 / 4) / 2),
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.8333333333333333),
    ],
)
def test_average_precision_by_hand(scores: list[float], positive: list[int], expected: float) -> None:
    """The last row is the example of scikit-learn's documentation, 0.83."""
    assert average_precision(np.array(scores), np.array(positive, dtype=np.bool_)) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), max_size=30))
def test_average_precision_is_the_sum_over_thresholds(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in pairs], dtype=np.float64)
    positive = np.array([label for _, label in pairs], dtype=np.bool_)
    expected, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        chosen = positive[scores >= threshold]
        reached = chosen.sum() / max(positive.sum(), 1)
        expected, recall = expected + (reached - recall) * chosen.mean(), reached
    if positive.any():
        assert average_precision(scores, positive) == pytest.approx(expected)
    else:
        assert math.isnan(average_precision(scores, positive))


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


def test_figures_in_batches_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(30, NUM_FEATURES, generator=generator)
    some = UnitRecords(features, (features[:, 0] + torch.randn(30, generator=generator) > 0).float(), np.arange(30))
    model = TASK.build_model()
    torch.nn.init.constant_(model.get_parameter("linear.weight"), 0.3)
    scores = model(features).detach().double().numpy()
    expected = {
        "accuracy": float(((scores > 0) == some.targets.numpy()).mean()),
        "auc": auc(scores, some.targets.numpy() > 0),
    }
    monkeypatch.setattr("almoner.workloads.base.EVALUATION_BATCH", 7)
    model.train()
    assert TASK.figures(model, some) == pytest.approx(expected)
    assert list(TASK.figures(model, some)) == ["accuracy", "auc"]
    assert 0.5 < expected["auc"] < 1


def test_figures_of_a_rare_target_rank_first() -> None:
    task = BankCredit()
    some = UnitRecords(torch.zeros(4, 12), torch.tensor([0.0, 0.0, 1.0, 0.0]), np.arange(4))
    figures = task.figures(task.build_model(), some)
    assert figures == {"auc": 0.5, "average_precision": 0.25, "accuracy": 0.75}
    assert list(figures) == ["auc", "average_precision", "accuracy"]


def test_figures_of_no_records_are_nan() -> None:
    assert all(math.isnan(value) for value in TASK.figures(TASK.build_model(), records([])).values())
