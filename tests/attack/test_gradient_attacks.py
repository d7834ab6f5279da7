"""A record that comes or goes must not change the gradients of others: by its place in a pass, nor by the model."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from almoner.errors import PolicyViolation
from almoner.training import gradient_passes, gradients
from almoner.training.gradients import Loss, UnitGradients
from almoner.training.units import UnitRecords
from almoner.workloads.registry import workload

pytestmark = pytest.mark.threat("T-84")

PASSES = 4
ODD = 225
"""Records a pass whose last row a product of matrices adds up in another order than the others."""


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().flatten(1).sum(1)


def moved(model: nn.Module, loss: Loss, features: Tensor, targets: Tensor, size: int, weights: np.ndarray) -> float:
    """Return how far unit 0 moves the clipped sum, at C = 1."""
    units = np.arange(len(features))
    passes = -(-len(features) // size)
    made = UnitGradients(
        model,
        loss,
        UnitRecords(features, targets, units),
        max_grad_norm=1.0,
        micro_batch_size=size,
        min_micro_batches=passes,
    )
    return float(np.linalg.norm(made.clipped_sum(weights, units) - made.clipped_sum(weights, units[1:])))


def cancelling(size: int) -> tuple[np.ndarray, Tensor]:
    """Return weights, and a patient whose log odds are pure rounding: of another sign in the last place of a pass."""
    generator, linear = np.random.default_rng(1), nn.Linear(16, 1)
    for _ in range(2000):
        weights, row = generator.normal(size=16) * 2.0**30, generator.normal(size=16)
        row -= weights * (weights @ row) / (weights @ weights)
        features = torch.from_numpy(row).float()
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weights)[None])
            linear.bias.zero_()
            before, last = linear(features.repeat(size, 1))[-2:, 0].tolist()
        if abs(row).max() < 3 and before < -50 and last > 50:
            return np.append(weights, 0.0), features
    pytest.skip("this machine adds up all rows alike")


def patients(size: int) -> tuple[np.ndarray, Tensor]:
    """Return weights, and patients of whom those at the end of a pass leave it when patient 0 goes."""
    weights, row = cancelling(ODD)
    features = torch.zeros(PASSES * size, 16)
    features[size - 1 :: size] = row
    return weights, features


def test_a_patient_moves_the_sum_by_several_c_where_places_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    task, (weights, features) = workload("heart_disease"), patients(ODD)
    attack = (task.build_model(), task.loss, features, torch.zeros(len(features)), ODD, weights)
    assert moved(*attack) <= 1.0
    monkeypatch.setattr(gradients, "ROWS", 1)
    with pytest.raises(PolicyViolation, match="its place in a pass of 225"):
        moved(*attack)
    monkeypatch.setattr(gradients, "verify_pass", lambda *arguments: None)
    assert moved(*attack) > 3.0


def test_the_size_that_a_job_chooses_is_one_of_equal_places() -> None:
    for usual in range(1, 2000, 7):
        assert gradient_passes.default_micro_batch_size(nn.Linear(16, 1), usual) % gradient_passes.ROWS == 0


class SequenceFirst(nn.Module):
    """A layer inside sees Tensor[positions, records, features]: with as many positions as rows, hooks cannot tell."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, rows: Tensor) -> Tensor:
        outputs: Tensor = self.inner(rows.transpose(0, 1)).mean(0)
        return outputs


class Centring(nn.Module):
    """Takes off the mean of the batch: no layer, no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, rows: Tensor) -> Tensor:
        outputs: Tensor = self.inner(rows - 3 * rows.mean(0))
        return outputs


class Remembering(nn.Module):
    """Keeps a running mean in a buffer, and has no parameter for a validation to look at."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, rows: Tensor) -> Tensor:
        self.mean.mul_(0.5).add_(rows.detach().mean(0))
        return rows - self.mean


MIXING = {
    "sequence first": (SequenceFirst(), (32, 32, 3)),
    "centring": (Centring(), (32, 3)),
    "remembering": (nn.Sequential(Remembering(), nn.Linear(3, 3)), (32, 3)),
}


@pytest.mark.parametrize("name", MIXING)
def test_a_model_that_mixes_records_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, shape = MIXING[name]
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 10
    attack = (model, squares, features, torch.zeros(32, 3), 16, np.linspace(-1, 1, 12))
    with pytest.raises(PolicyViolation):
        moved(*attack)
    monkeypatch.setattr(gradients, "verify_layers", lambda model: None)
    monkeypatch.setattr(gradients, "verify_pass", lambda *arguments: None)
    assert moved(*attack) > 1.0


def test_a_loss_that_mixes_records_is_refused() -> None:
    def across(outputs: Tensor, targets: Tensor) -> Tensor:
        return -torch.log_softmax(outputs, 0)[:, 0]

    with pytest.raises(PolicyViolation, match="depends on other records"):
        moved(nn.Linear(3, 2), across, torch.randn(32, 3), torch.zeros(32), 32, np.zeros(8))


def test_dropout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is dropped of a record depends on how many come before it."""
    model = nn.Sequential(nn.Dropout(), nn.Linear(3, 2))
    attack = (model, squares, torch.full((32, 3), 9.0), torch.zeros(32, 2), 32, np.zeros(8))
    with pytest.raises(PolicyViolation, match="draws for places"):
        moved(*attack)
    monkeypatch.setattr(gradients, "verify_layers", lambda model: None)
    monkeypatch.setattr(gradients, "verify_pass", lambda *arguments: None)
    weights = np.linspace(-1, 1, 8)
    assert moved(*attack[:-1], weights) > 1.0


class TiedByFunction(nn.Module):
    """Uses a layer's weight a second time, not through the layer: hooks would see half of its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 5)

    def forward(self, words: Tensor) -> Tensor:
        return nn.functional.linear(self.embedding(words), self.embedding.weight)


def test_a_parameter_used_outside_its_layer_is_refused() -> None:
    words = torch.ones(16, 2, dtype=torch.int64)
    with pytest.raises(PolicyViolation, match="outside of its layer"):
        moved(TiedByFunction(), squares, words, torch.zeros(16, 2, 5), 16, np.linspace(-1, 1, 25))


def test_too_many_positions_are_refused_before_anything_is_drawn() -> None:
    features = torch.zeros(256, 4096, 1)
    with pytest.raises(PolicyViolation, match="4096 positions"):
        moved(nn.Linear(1, 1), squares, features, features, 256, np.zeros(2))
