"""Canaries in the job's real trainer: units whose gradients are known, each alone on its own coordinate.

The model is one linear layer without bias and the loss its output, so that a canary's gradient is its features,
whatever the weights: 10 C on one coordinate. Nothing but canaries is in the data (a null background): what a coordinate
shows is one canary, or none, and noise. Sampling, clipping, noise, grid, rounds and steps are those of
`make_trainer(...).run_round` and `Descent`; there is no second loop. Whose randomness these draw from the caller says:
what a seeded source shows is true of that source, and `checks` has what is looked at in the sites' own.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import binom
from torch import Tensor, nn

from almoner.redteam.audit.claim import AuditedRun
from almoner.redteam.audit.faults import Fault
from almoner.training.descent import Descent
from almoner.training.flat import flatten
from almoner.training.grid import UpdateGrid, shared_grid, update_grid
from almoner.training.noise import RandomSource
from almoner.training.round import RoundTrainer
from almoner.training.trainers import make_trainer
from almoner.training.units import UnitRecords

AMPLITUDE = 10.0
"""Norm of a canary's gradient, over C: what clipping must cut."""

_SUSPECTED = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """What a server sees of a run, coordinate by coordinate, in units of C.

    Args:
        included: bool[m], which canaries were in the data.
        updates: float64[rounds, m].
        draws: how often any unit was drawn.
        step: distance of two grid points, in units of C.
    """

    included: NDArray[np.bool_]
    updates: NDArray[np.float64]
    draws: int
    step: float

    @property
    def scores(self) -> NDArray[np.float64]:
        """How much each coordinate moved in all, float64[m]."""
        scores: NDArray[np.float64] = self.updates.sum(axis=0)
        return scores


class CountingLoss:
    """The model's output as loss; counts the records that pass, whose targets are 1, and not the padding's 0."""

    def __init__(self) -> None:
        self.passed = 0

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return one loss a record."""
        self.passed += int(targets.detach().sum())
        return outputs.squeeze(1)


class Bench:
    """One trainer under test, on units of known gradients; under distributed noise one a share, of which one has units.

    Args:
        run: the public numbers.
        fault: what is wrong with it.
        source: its randomness.
        coordinates: int64[n], for each unit the coordinate of its gradient.
        dimension: how many coordinates there are.
        nominal: the declared number of units; `dimension` if None.
    """

    def __init__(
        self,
        run: AuditedRun,
        fault: Fault,
        source: RandomSource,
        coordinates: NDArray[np.int64],
        dimension: int,
        nominal: int | None = None,
    ) -> None:
        self._run, self._nominal = run, dimension if nominal is None else nominal
        self._model, self._loss = _linear(dimension), CountingLoss()
        self.grid = _grid(run, dimension, self._nominal)
        others = [coordinates[:0]] * (run.num_shares - 1)
        self._trainers = [
            self._make(fault, source, _units(units, dimension, AMPLITUDE * run.max_grad_norm))
            for units in (coordinates, *others)
        ]
        self._loss.passed = 0

    @property
    def draws(self) -> int:
        """How many records passed through the model since it was built."""
        return self._loss.passed

    def updates(self, rounds: int) -> Iterator[NDArray[np.float64]]:
        """Train, and yield each round's update as the server sees it, float64[dimension] in units of C."""
        run = self._run
        descent = Descent(flatten(self._model), self.grid, run.learning_rate, run.sampling_prob)
        for _ in range(rounds):
            update = np.sum([trainer.run_round(descent.weights) for trainer in self._trainers], axis=0)
            descent.apply(update, self._nominal)
            yield update.astype(np.float64) * (self.grid.step / run.max_grad_norm)

    def _make(self, fault: Fault, source: RandomSource, data: UnitRecords) -> RoundTrainer:
        run = self._run
        return make_trainer(
            self._model,
            self._loss,
            data,
            mechanism=run.mechanism,
            noise_multiplier=run.noise_multiplier / fault.loosening,
            num_shares=run.num_shares,
            max_grad_norm=run.max_grad_norm * fault.loosening,
            sampling_prob=run.sampling_prob,
            local_steps=run.local_steps,
            learning_rate=run.learning_rate,
            proximal=run.proximal,
            nominal_records=self._nominal,
            grid=self.grid,
            rng=fault.source(source),
        )


def trace_canaries(run: AuditedRun, fault: Fault, source: RandomSource, num_canaries: int, seed: int) -> Traces:
    """Train once on canaries of which each is in the data by a fair coin.

    Args:
        run: the public numbers.
        fault: what is wrong with the trainer.
        source: its randomness.
        num_canaries: m.
        seed: of the coins.
    """
    included = np.random.default_rng([seed, num_canaries]).random(num_canaries) < 0.5
    bench = Bench(run, fault, source, np.flatnonzero(included), num_canaries)
    updates = np.stack(list(bench.updates(run.rounds)))
    return Traces(included, updates, bench.draws, bench.grid.step / run.max_grad_norm)


def right_guesses(run: AuditedRun, traces: Traces, num_guesses: int) -> int:
    """Guess "in" for the canaries of highest score and "out" for those of lowest, half each; count what is right.

    The score is the likelihood ratio of a coordinate's updates, with and without its canary, at half the claimed noise:
    the sharpest there is against a trainer of half the noise, and good against others.
    """
    order = np.argsort(_log_ratios(run, traces.updates), kind="stable")
    outside, inside = order[: num_guesses // 2], order[len(order) - math.ceil(num_guesses / 2) :]
    return int((~traces.included[outside]).sum() + traces.included[inside].sum())


def _log_ratios(run: AuditedRun, updates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each coordinate's log likelihood ratio over all rounds, float64[m]."""
    steps, variance = run.local_steps, run.local_steps * (_SUSPECTED * run.noise_multiplier) ** 2
    drawn = np.arange(steps + 1)[:, None]
    chances = binom.logpmf(drawn, steps, run.sampling_prob)
    total = np.zeros(updates.shape[1])
    for update in updates:
        total += logsumexp(chances + (2 * drawn * update - drawn**2) / (2 * variance), axis=0)
    return total


def _grid(run: AuditedRun, dimension: int, nominal: int) -> UpdateGrid:
    """Return the grid that a job of so many parameters has."""
    if run.mechanism == "distributed_dp":
        return shared_grid(run.max_grad_norm, run.noise_multiplier, run.num_shares, dimension)
    limit = (1 << (run.update_bits - 1)) - 1
    return update_grid(run.max_grad_norm, run.sampling_prob, run.noise_multiplier, nominal, run.local_steps, limit)


def _linear(dimension: int) -> nn.Module:
    model = nn.Linear(dimension, 1, bias=False)
    nn.init.zeros_(model.weight)
    return model


def _units(coordinates: NDArray[np.int64], dimension: int, amplitude: float) -> UnitRecords:
    """Return one unit for each coordinate, whose gradient is `amplitude` there."""
    features = torch.zeros(len(coordinates), dimension)
    features[torch.arange(len(coordinates)), torch.from_numpy(coordinates)] = amplitude
    return UnitRecords(features, torch.ones(len(coordinates)), np.arange(len(coordinates)))
