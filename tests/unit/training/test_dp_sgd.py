import logging
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from almoner.errors import PolicyViolation, ProtocolError
from almoner.schema.receipt import SampledGaussian
from almoner.training.dp_sgd import DpSgdTrainer, UnsafeNoiselessTrainer, noise_lattice
from almoner.training.gradients import UnitGradients
from almoner.training.grid import UpdateGrid
from almoner.training.noise import UnsafeSeededRandom
from almoner.training.round import RoundParameters
from almoner.training.sampling import poisson_sample
from almoner.training.units import UnitRecords

START = np.array([0.5, -0.25, 0.125, 0.0])


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")


def model() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0))


def data(number: int = 30, copies: int = 1) -> UnitRecords:
    rng = np.random.default_rng(0)
    features = np.tile(rng.normal(size=(number, 3)).astype(np.float32), (copies, 1))
    targets = torch.from_numpy((features[:, 0] > 0).astype(np.float32))
    return UnitRecords(torch.from_numpy(features), targets, np.arange(number * copies))


def parameters(**changes: object) -> RoundParameters:
    base = RoundParameters(
        max_grad_norm=1.0,
        sampling_prob=1.0,
        local_steps=1,
        learning_rate=0.5,
        nominal_records=25,
        grid=UpdateGrid(2.0**-20, 2**40),
        rng=UnsafeSeededRandom(0),
    )
    return RoundParameters(**{**base, **changes})


def private(records: UnitRecords, noise_multiplier: float = 1.0, **changes: object) -> DpSgdTrainer:
    return DpSgdTrainer(model(), loss, records, noise_multiplier=noise_multiplier, **parameters(**changes))


def noiseless(records: UnitRecords, **changes: object) -> UnsafeNoiselessTrainer:
    return UnsafeNoiselessTrainer(model(), loss, records, **parameters(**changes))


def test_one_step_returns_the_gridded_clipped_sum() -> None:
    records = data()
    gradients = UnitGradients(model(), loss, records, max_grad_norm=1.0, micro_batch_size=64, min_micro_batches=1)
    expected = gradients.clipped_sum(START, np.arange(30)) * 2**20
    found = noiseless(records).run_round(START)
    assert found.dtype == np.int64
    assert np.abs(found - expected).max() <= 0.5


def test_local_steps_move_by_the_declared_size_and_are_summed() -> None:
    """The round's sum is rounded once, so it differs from two rounded steps by a step of the grid at most."""
    records = data()
    first = noiseless(records).run_round(START)
    moved = START - 0.5 * first * 2.0**-20 / 25
    second = noiseless(records).run_round(moved)
    assert np.abs(noiseless(records, local_steps=2).run_round(START) - first - second).max() <= 1
    assert np.abs(first - second).max() > 1000


def test_the_proximal_term_draws_local_steps_back() -> None:
    """Three steps by FedProx's formula: w ← w - lr·(g/(qN) + μ(w - w₀)); what is sent is the way, in gradient sums."""
    records, rate, pull = data(), 0.5, 1.5
    gradients = UnitGradients(model(), loss, records, max_grad_norm=1.0, micro_batch_size=64, min_micro_batches=1)
    weights = START
    for _ in range(3):
        mean = gradients.clipped_sum(weights, np.arange(30)) / 25
        weights = weights - rate * (mean + pull * (weights - START))
    expected = (START - weights) / rate * 25 * 2**20
    found = noiseless(records, local_steps=3, proximal=pull).run_round(START)
    assert np.abs(found - expected).max() <= 1
    assert np.abs(found - noiseless(records, local_steps=3).run_round(START)).max() > 1000


def test_two_steps_of_samples_follow_the_formula() -> None:
    """The local step divides by q times the declared size, 0.5 · 25, whoever was drawn."""
    records, grid, source = data(), UpdateGrid(2.0**-20, 2**40), UnsafeSeededRandom(0)
    gradients = UnitGradients(model(), loss, records, max_grad_norm=1.0, micro_batch_size=64, min_micro_batches=1)
    weights, total = START, np.zeros(4, np.int64)
    for _ in range(2):
        step = grid.to_integers(gradients.clipped_sum(weights, poisson_sample(source, 0.5, 30)))
        weights = weights - 0.5 * grid.step * step / (0.5 * 25)
        total += step
    assert np.abs(noiseless(records, sampling_prob=0.5, local_steps=2).run_round(START) - total).max() <= 2


def test_the_sum_does_not_know_how_many_units_there_are() -> None:
    """Twice the records, same declared size: twice the sum, not the same mean."""
    once = noiseless(data()).run_round(START)
    twice = noiseless(data(copies=2)).run_round(START)
    assert np.abs(twice - 2 * once).max() <= 2


def test_result_saturates() -> None:
    result = private(data(), noise_multiplier=50.0, grid=UpdateGrid(2.0**-20, 100)).run_round(START)
    assert set(np.abs(result)) == {100}


def test_a_site_without_data_releases_noise() -> None:
    result = private(data(0), noise_multiplier=10.0).run_round(START)
    assert result.shape == (4,)
    assert result.dtype == np.int64
    assert np.abs(result).min() > 0


def noise_of_the_first_step(num_units: int, noise_multiplier: float) -> np.ndarray:
    """What the seeded source gives after the sample: σ·(C + h·√d)/h on the fine lattice, in steps of the grid."""
    source, step = UnsafeSeededRandom(0), 2.0**-26
    source.uniform_integers(num_units)
    return np.rint(source.gaussian_integers(noise_multiplier * (1.0 + step * 2.0) / step, 4) / 2.0**6)


def test_private_round_is_the_noiseless_one_plus_integer_noise() -> None:
    both, sum_alone = private(data(), 3.0).run_round(START), noiseless(data()).run_round(START)
    assert np.abs(both - sum_alone - noise_of_the_first_step(30, 3.0)).max() <= 1


@pytest.mark.parametrize(("norm", "step", "expected"), [(1.0, 2.0**-7, 2.0**-26), (1.0, 2.0**-40, 2.0**-40)])
def test_the_noise_lattice_is_fine_and_never_coarser_than_the_grid(norm: float, step: float, expected: float) -> None:
    assert noise_lattice(norm, step).step == expected


@pytest.mark.parametrize("norm", [1e-3, 0.1, 1.0, 3.0, 1000.0])
def test_rounding_to_the_lattice_is_next_to_nothing_in_the_sensitivity(norm: float) -> None:
    assert norm < noise_lattice(norm, 1.0).sensitivity(norm, 1_000_000) <= norm * (1 + 2.0**-15)


def test_two_rounds_draw_fresh_noise() -> None:
    trainer = private(data(0))
    assert not np.array_equal(trainer.run_round(START), trainer.run_round(START))


def test_a_non_finite_record_is_not_observable(caplog: pytest.LogCaptureFixture) -> None:
    """No exception, warning or log; the rest of the sum is as without that unit."""
    clean, spoilt = data(), data()
    spoilt.features[7] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        result = noiseless(spoilt).run_round(START)
    assert caplog.records == []
    assert result.shape == (4,)
    keep = [index for index in range(30) if index != 7]
    rest = UnitRecords(clean.features[keep], clean.targets[keep], np.arange(29))
    assert np.abs(result - noiseless(rest).run_round(START)).max() <= 2
    assert not np.array_equal(result, noiseless(clean).run_round(START))


def test_all_records_non_finite_release_noise_alone() -> None:
    spoilt = data()
    spoilt.features[:] = torch.nan
    assert np.array_equal(private(spoilt, 3.0).run_round(START), noise_of_the_first_step(30, 3.0))


def test_event_is_what_was_asked_for() -> None:
    trainer = private(data(), noise_multiplier=2.5, sampling_prob=0.25, local_steps=3)
    assert trainer.round_event == SampledGaussian(
        kind="sampled_gaussian", noise_multiplier=2.5, sampling_prob=0.25, count=3
    )
    assert not hasattr(noiseless(data()), "round_event")


@pytest.mark.parametrize("noise", [0.0, -1.0, float("nan"), float("inf")])
def test_private_trainer_needs_noise(noise: float) -> None:
    with pytest.raises(PolicyViolation, match="noise_multiplier"):
        private(data(), noise_multiplier=noise)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_grad_norm", 0.0),
        ("max_grad_norm", float("inf")),
        ("sampling_prob", 0.0),
        ("sampling_prob", 1.1),
        ("local_steps", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("nominal_records", 0),
        ("micro_batch_size", 0),
        ("proximal", 2.1),
        ("proximal", -0.1),
        ("grid", UpdateGrid(2.0**-60)),
    ],
)
def test_public_parameters_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(PolicyViolation, match=name):
        private(data(), **{name: value})


@pytest.mark.parametrize("weights", [np.zeros(3), np.zeros(4, np.float32), np.array([0, 0, 0, np.nan])])
def test_weights_that_do_not_fit_are_refused(weights: np.ndarray) -> None:
    with pytest.raises(ProtocolError):
        private(data()).run_round(weights)


def test_micro_batch_size_changes_nothing_but_speed() -> None:
    small, large = (noiseless(data(), micro_batch_size=size).run_round(START) for size in (7, 512))
    assert np.abs(small - large).max() <= 2


def test_the_callers_weights_are_left_alone() -> None:
    weights = START.copy()
    private(data(), local_steps=3).run_round(weights)
    assert np.array_equal(weights, START)
