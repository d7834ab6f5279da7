import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from almoner.errors import PolicyViolation
from almoner.training.flat import dimension, flatten, unflatten
from almoner.training.gradient_clipping import MARGIN
from almoner.training.gradients import UnitGradients
from almoner.training.grid import UpdateGrid
from almoner.training.units import UnitRecords


class Logistic(torch.nn.Sequential):
    """Logistic regression that counts its forward passes and the rows of each."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Linear(3, 1), torch.nn.Flatten(0))
        self.passes: list[int] = []

    def forward(self, rows: Tensor) -> Tensor:
        self.passes.append(len(rows))
        return super().forward(rows)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")


def records(features: np.ndarray, unit: list[int] | np.ndarray) -> UnitRecords:
    targets = (np.arange(len(features)) % 2).astype(np.float32)
    return UnitRecords(torch.from_numpy(features.astype(np.float32)), torch.from_numpy(targets), np.asarray(unit))


def gradients_of(
    data: UnitRecords, *, norm: float = 1.0, size: int = 4, passes: int = 1, model: torch.nn.Module | None = None
) -> UnitGradients:
    return UnitGradients(
        model or Logistic(), loss, data, max_grad_norm=norm, micro_batch_size=size, min_micro_batches=passes
    )


def reference(
    model: torch.nn.Module, data: UnitRecords, weights: np.ndarray, units: list[int], norm: float
) -> np.ndarray:
    """One backward pass a unit, without Opacus and micro-batches."""
    unflatten(model, weights)
    total = np.zeros(len(weights))
    for unit in units:
        own = torch.from_numpy(np.flatnonzero(data.unit == unit))
        model.zero_grad()
        loss(model(data.features[own]), data.targets[own]).sum().backward()
        gradient = np.concatenate([p.grad.numpy().ravel().astype(np.float64) for p in model.parameters()])
        total += gradient * min(1.0, norm * (1 - MARGIN) / np.linalg.norm(gradient))
    return total


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64])
def test_sum_matches_one_backward_pass_a_unit(size: int) -> None:
    """Units of 1 to 7 records in mixed order, so that units span micro-batches of every size."""
    rng = np.random.default_rng(0)
    unit = rng.permutation(np.repeat(np.arange(7), np.arange(1, 8)))
    data = records(rng.normal(size=(28, 3)), unit)
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1), torch.nn.Flatten(0))
    weights, units = flatten(network), [0, 2, 3, 6]
    found = gradients_of(data, size=size, model=network, norm=0.8).clipped_sum(weights, np.array(units))
    assert found == pytest.approx(reference(network, data, weights, units, 0.8), abs=1e-5)


def test_a_unit_with_several_records_is_clipped_once() -> None:
    features = np.tile([3.0, 0.0, 0.0], (8, 1))
    data = UnitRecords(torch.from_numpy(features.astype(np.float32)), torch.zeros(8), np.zeros(8, np.int64))
    for size in (1, 3, 8):
        total = gradients_of(data, size=size).clipped_sum(np.zeros(4), np.array([0]))
        assert np.linalg.norm(total) == pytest.approx(1.0 - MARGIN, abs=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_a_non_finite_unit_adds_nothing_and_raises_nothing(bad: float) -> None:
    """Unit 2 has one good and one bad record; the whole unit becomes 0."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6, 3))
    unit = [0, 1, 2, 2, 3, 4]
    weights = np.array([0.3, -0.2, 0.1, 0.0])
    clean = records(features, unit)
    features[3] = bad
    spoilt = records(features, unit)
    without = gradients_of(clean).clipped_sum(weights, np.array([0, 1, 3, 4]))
    found = gradients_of(spoilt).clipped_sum(weights, np.arange(5))
    assert np.isfinite(found).all()
    if bad == 3e38:
        assert np.linalg.norm(found - without) <= 1 + 1e-6
    else:
        assert found == pytest.approx(without, abs=1e-6)


def test_number_and_size_of_passes_do_not_depend_on_the_sample() -> None:
    data = records(np.random.default_rng(0).normal(size=(12, 3)), np.arange(12))
    seen = []
    for units in ([], [3], list(range(11)), list(range(12))):
        gradients = gradients_of(data, size=4, passes=3)
        gradients._pass.model.passes.clear()
        gradients.clipped_sum(np.zeros(4), np.array(units, np.int64))
        seen.append(gradients._pass.model.passes)
    assert seen == [[32, 32, 32]] * 4


def test_a_sample_beyond_the_public_number_is_still_complete() -> None:
    data = records(np.random.default_rng(0).normal(size=(12, 3)), np.arange(12))
    few = gradients_of(data, size=4, passes=1).clipped_sum(np.zeros(4), np.arange(12))
    assert few == pytest.approx(gradients_of(data, size=4, passes=9).clipped_sum(np.zeros(4), np.arange(12)))


def test_empty_sample_and_empty_data_sum_to_zero() -> None:
    data = records(np.zeros((0, 3)), np.empty(0, np.int64))
    assert gradients_of(data).clipped_sum(np.zeros(4), np.empty(0, np.int64)).tolist() == [0.0] * 4


@given(
    features=arrays(np.float32, (12, 3), elements=st.floats(-1e4, 1e4, width=32) | st.just(np.float32(np.nan))),
    unit=st.lists(st.integers(0, 3), min_size=12, max_size=12),
    weights=arrays(np.float64, 4, elements=st.floats(-5, 5)),
    norm=st.floats(0.01, 10),
    exponent=st.integers(-12, 3),
)
def test_adding_a_unit_moves_the_gridded_sum_by_at_most_the_sensitivity(
    features: np.ndarray, unit: list[int], weights: np.ndarray, norm: float, exponent: int
) -> None:
    """Neighbours differ in one unit with all its records (up to 12); sums are compared on the grid."""
    numbered = np.unique(np.array(unit), return_inverse=True)[1]
    gradients = gradients_of(records(features, numbered), norm=norm)
    everybody = np.arange(numbered.max() + 1)
    grid = UpdateGrid(2.0**exponent, 2**50)
    whole = grid.to_integers(gradients.clipped_sum(weights, everybody))
    for left_out in everybody:
        rest = grid.to_integers(gradients.clipped_sum(weights, np.delete(everybody, left_out)))
        assert np.linalg.norm((whole - rest) * grid.step) <= grid.sensitivity(norm, 4)


def test_the_callers_model_is_left_alone() -> None:
    network = Logistic()
    before = flatten(network)
    data = records(np.ones((2, 3)), [0, 1])
    gradients_of(data, model=network).clipped_sum(np.ones(4), np.arange(2))
    assert np.array_equal(flatten(network), before)
    assert dimension(network) == 4
    assert network.passes == []


def test_layers_that_mix_records_and_frozen_parameters_are_refused() -> None:
    data = records(np.ones((2, 3)), [0, 1])
    with pytest.raises(PolicyViolation, match="mixes records"):
        gradients_of(data, model=torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)))
    frozen = Logistic()
    next(frozen.parameters()).requires_grad_(False)
    with pytest.raises(PolicyViolation, match="frozen"):
        gradients_of(data, model=frozen)
