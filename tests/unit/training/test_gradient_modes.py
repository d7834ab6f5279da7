"""Every way of taking gradients against one ordinary backward pass a unit."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from opacus.layers import DPLSTM
from torch import Tensor, nn

from almoner.errors import PolicyViolation
from almoner.training.flat import flatten, unflatten
from almoner.training.gradient_clipping import MARGIN
from almoner.training.gradient_passes import HookedPass, RecordPass, SummedPass, VmappedPass, record_pass
from almoner.training.gradients import UnitGradients
from almoner.training.units import UnitRecords

WORDS, LENGTH = 7, 5
Inputs = Callable[[int], Tensor]


class Reader(nn.Module):
    """Words in, one number out; the recurrent layer gives (outputs, state)."""

    def __init__(self, recurrent: nn.Module, padding: int | None = None) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 4, padding_idx=padding)
        self.recurrent = recurrent
        self.head = nn.Linear(3, 1)

    def forward(self, rows: Tensor) -> Tensor:
        return self.head(self.recurrent(self.words(rows))[0]).mean(1)[:, 0]


class Tied(nn.Module):
    """A parameter in two layers, and one in none."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, rows: Tensor) -> Tensor:
        return (self.second(torch.tanh(self.first(rows))) * self.scale).sum(1)


class Twice(nn.Module):
    """One layer applied twice, a residual, and an activation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(3, 3), nn.Linear(3, 1, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        hidden = torch.relu_(self.layer(rows))
        return self.head(hidden + torch.tanh(self.layer(hidden)))[:, 0]


def numbers(*shape: int) -> Inputs:
    return lambda count: torch.randn(count, *shape)


def words(count: int) -> Tensor:
    return torch.randint(0, WORDS, (count, LENGTH))


def convolutional() -> nn.Module:
    layers = (nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.GroupNorm(2, 4), nn.Tanh(), nn.Conv2d(4, 2, 2, groups=2))
    return nn.Sequential(*layers, nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 1), nn.Flatten(0))


def positions() -> nn.Module:
    return nn.Sequential(
        nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2), nn.Flatten(), nn.Linear(2 * LENGTH, 1), nn.Flatten(0)
    )


MODELS: dict[str, tuple[Callable[[], nn.Module], Inputs, type[RecordPass]]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), numbers(3), HookedPass),
    "layers": (convolutional, numbers(2, 5, 5), HookedPass),
    "positions": (positions, numbers(LENGTH, 3), HookedPass),
    "twice": (Twice, numbers(3), HookedPass),
    "dplstm": (lambda: Reader(DPLSTM(4, 3, batch_first=True)), words, HookedPass),
    "padding": (lambda: Reader(DPLSTM(4, 3, batch_first=True), padding=2), words, HookedPass),
    "tied": (Tied, numbers(3), VmappedPass),
    "lstm": (lambda: Reader(nn.LSTM(4, 3, batch_first=True)), words, SummedPass),
}


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square()


def clipped_sum(model: nn.Module, data: UnitRecords, units: list[int], size: int, norm: float) -> np.ndarray:
    gradients = UnitGradients(model, loss, data, max_grad_norm=norm, micro_batch_size=size, min_micro_batches=1)
    return gradients.clipped_sum(flatten(model), np.array(units))


def reference(model: nn.Module, data: UnitRecords, units: list[int], norm: float) -> np.ndarray:
    unflatten(model, flatten(model))
    total = np.zeros(len(flatten(model)))
    for unit in units:
        own = torch.from_numpy(np.flatnonzero(data.unit == unit))
        model.zero_grad()
        loss(model(data.features[own]), data.targets[own]).sum().backward()
        gradient = np.concatenate([part.grad.double().numpy().ravel() for part in model.parameters()])
        total += gradient * min(1.0, norm * (1 - MARGIN) / np.linalg.norm(gradient))
    return total


@pytest.mark.parametrize("name", MODELS)
def test_sum_is_that_of_one_backward_pass_a_unit(name: str) -> None:
    """One record a unit, and units of 1 to 6 records that lie in one pass or span several; clipped or not."""
    build, inputs, kind = MODELS[name]
    torch.manual_seed(3)
    model = build()
    assert type(record_pass(model, loss)) is kind
    for unit in (np.arange(8), np.random.default_rng(0).permutation(np.repeat(np.arange(6), np.arange(1, 7)))):
        data = UnitRecords(inputs(len(unit)), torch.randn(len(unit)), unit)
        for size, norm in ((2, 0.5), (5, 8.0), (32, 0.5), (32, 1e6)):
            found = clipped_sum(model, data, [0, 2, 3, 5], size, norm)
            expected = reference(model, data, [0, 2, 3, 5], norm)
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-5 * np.linalg.norm(expected))


@pytest.mark.parametrize("name", MODELS)
def test_a_non_finite_unit_is_as_one_that_was_not_drawn(name: str) -> None:
    """Unit 1 has a record whose target is not a number; its other records are as usual."""
    build, inputs, _ = MODELS[name]
    torch.manual_seed(4)
    model, unit = build(), np.array([0, 1, 1, 1, 2, 2])
    data = UnitRecords(inputs(6), torch.randn(6), unit)
    data.targets[2] = torch.nan
    for size in (2, 8):
        found = clipped_sum(model, data, [0, 1, 2], size, 1.0)
        assert found == pytest.approx(clipped_sum(model, data, [0, 2], size, 1.0), rel=1e-4, abs=1e-6)
        assert not clipped_sum(model, data, [1], size, 1.0).any()


def test_the_product_and_the_gram_matrix_give_one_norm() -> None:
    """Twelve records a unit: for the narrow layer the product of the factors is smaller, for the wide one it is not."""
    torch.manual_seed(5)
    for width in (2, 40):
        model = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1), nn.Flatten(0))
        data = UnitRecords(torch.randn(24, width), torch.randn(24), np.repeat(np.arange(2), 12))
        expected = reference(model, data, [0, 1], 0.5)
        assert clipped_sum(model, data, [0, 1], 24, 0.5) == pytest.approx(expected, rel=1e-4, abs=1e-6)


class Changes(nn.Sequential):
    """Changes a layer's input after the layer has used it."""

    def forward(self, rows: Tensor) -> Tensor:
        hidden = super().forward(rows)
        rows += 1.0
        return hidden.sum(1)


class Turned(nn.Module):
    """Gives its layer the positions first."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, rows: Tensor) -> Tensor:
        return self.layer(rows.transpose(0, 1)).sum((0, 2))


class Branching(nn.Module):
    """Holds its parameter itself, and looks at the values of all records."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, rows: Tensor) -> Tensor:
        return (rows * self.scale).sum((1, 2)) if rows.sum() > 0 else rows.sum((1, 2))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Branching(), "no gradients by record"),
        (Changes(nn.Linear(3, 1), nn.Flatten()), "changed in place"),
        (Turned(), "not one row a record"),
        (nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)).double(), "not float32"),
    ],
)
def test_models_whose_factors_cannot_be_told_are_refused(model: nn.Module, message: str) -> None:
    """Before any data is looked at; five positions and passes of five records do not hide which is which."""
    data = UnitRecords(torch.randn(2, LENGTH, 3), torch.randn(2), np.arange(2))
    with pytest.raises(PolicyViolation, match=message):
        UnitGradients(model, loss, data, max_grad_norm=1.0, micro_batch_size=LENGTH, min_micro_batches=1)
