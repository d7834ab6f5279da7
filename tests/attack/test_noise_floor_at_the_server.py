"""A server that reads updates leaves out one without its noise; who sends other noise is not found."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from almoner.protection.plain import PlainServer, PlainSite
from almoner.protection.scheme import RoundTotal
from almoner.training.dp_sgd import UnsafeNoiselessTrainer
from almoner.training.flat import flatten
from almoner.training.floor import least_energy
from almoner.training.grid import update_grid
from almoner.training.noise import UnsafeSeededRandom
from almoner.training.round import RoundParameters
from almoner.training.trainers import make_trainer
from almoner.training.units import UnitRecords

DIMENSION, UNITS, STEPS, NOISE, NORM = 5000, 200, 2, 1.5, 0.5
SITES = ("ada", "bob", "cyd")
GRID = update_grid(NORM, 0.1, NOISE, UNITS, STEPS)
FLOOR = least_energy(NOISE * NORM / GRID.step, 1.0, DIMENSION, 1e-9)


def update(seed: int, *, noised: bool) -> NDArray[np.int64]:
    """Return one round's update of a linear model."""
    model = nn.Linear(DIMENSION, 1, bias=False)
    features = torch.from_numpy(np.random.default_rng(seed).normal(size=(UNITS, DIMENSION))).float()
    data = UnitRecords(features, torch.ones(UNITS), np.arange(UNITS))
    parameters = RoundParameters(
        max_grad_norm=NORM, sampling_prob=0.1, local_steps=STEPS, learning_rate=1.0, nominal_records=UNITS,
        grid=GRID, rng=UnsafeSeededRandom(seed),
    )  # fmt: skip

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs.squeeze(1) - targets) ** 2

    if noised:
        trainer = make_trainer(model, loss, data, mechanism="dp_sgd", noise_multiplier=NOISE, **parameters)
        return trainer.run_round(flatten(model))
    return UnsafeNoiselessTrainer(model, loss, data, **parameters).run_round(flatten(model))


def total(least: float, values: dict[str, NDArray[np.int64]]) -> RoundTotal:
    """Return what a server makes of the sites' messages."""
    messages = {}
    for name, own in values.items():
        site = PlainSite(DIMENSION)
        site.begin(1, (), b"")
        messages[name] = site.protect(1, own)
    conversation = PlainServer(DIMENSION, 2, least).round(1, SITES)
    next(conversation)
    with pytest.raises(StopIteration) as end:
        conversation.send(messages)
    found: RoundTotal = end.value.value
    return found


@pytest.mark.threat("T-120")
def test_a_forgotten_noise_is_seen_and_kept_out_of_the_sum() -> None:
    values = {site: update(seed, noised=site != "bob") for seed, site in enumerate(SITES)}
    assert total(0.0, values).contributors == SITES  # without the check it is added
    checked = total(FLOOR, values)
    assert (checked.contributors, checked.named) == (("ada", "cyd"), ("bob",))


def test_large_values_are_not_taken_for_quiet_ones() -> None:
    """Added up as 64-bit integers, their squares are less than nothing."""
    values = {site: np.full(DIMENSION, 52_600_000) for site in SITES}
    assert int(values["ada"] @ values["ada"]) < FLOOR
    assert total(FLOOR, values).contributors == SITES


def test_it_binds_nobody_who_sends_other_noise() -> None:
    values = {site: update(seed, noised=site != "bob") for seed, site in enumerate(SITES)}
    loud = np.full(DIMENSION, round(2 * NOISE * NORM / GRID.step))
    assert total(FLOOR, values | {"bob": values["bob"] + loud}).contributors == SITES  # the server can subtract it
