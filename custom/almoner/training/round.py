"""What every round of local training shares: sampling, local steps, and the integers that leave.

A step's result is a vector in units of the gradient sum. The local steps of a round move the weights by

    moved ← (1 - lr·μ)·moved + released        w = w₀ - lr/(q·N)·moved

which is w ← w - lr·(released/(q·N) + μ·(w - w₀)): FedProx's local step, and the plain one for μ = 0. What is sent is
`moved`, rounded once to the job's grid. All of this is computed from what the steps released, so where they are private
it is post-processing.

Reference: Li et al., "Federated optimization in heterogeneous networks", arXiv:1812.06127 (the proximal term).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NotRequired, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from almoner.errors import PolicyViolation, ProtocolError
from almoner.training.flat import check_weights, dimension, pieces
from almoner.training.gradients import Loss, UnitGradients, default_micro_batch_size
from almoner.training.grid import UpdateGrid
from almoner.training.noise import RandomSource
from almoner.training.sampling import poisson_sample, sample_bound
from almoner.training.units import UnitRecords

MAX_STEPS_PER_UNIT = 2.0**45
"""Finest grid allowed, as C/step: 2^18 units of full norm still fit 64-bit integers."""

Release = Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]]
"""(weights, sampled units) -> one step's gradient sum, a float64[d] of its own, as the outside may know it."""


class RoundParameters(TypedDict):
    """The public numbers of a round, and its randomness.

    Args:
        max_grad_norm: C, the L2 bound on one unit's gradient.
        sampling_prob: q, Poisson probability of a unit.
        local_steps: steps a round.
        learning_rate: step size.
        nominal_records: declared number of training units, public.
        grid: the job's grid.
        rng: `SecureRandom()`.
        max_records_per_unit: how many records a unit has at the most, public; 1 if not said.
        micro_batch_size: records in one pass, or as many as suit the model; changes speed and last bits only.
        proximal: μ, how strongly local steps are drawn back to the round's first weights.
    """

    max_grad_norm: float
    sampling_prob: float
    local_steps: int
    learning_rate: float
    nominal_records: int
    grid: UpdateGrid
    rng: RandomSource
    max_records_per_unit: NotRequired[int]
    micro_batch_size: NotRequired[int]
    proximal: NotRequired[float]


class RoundTrainer(ABC):
    """A site's training, one round at a time; subclasses say what leaves."""

    def __init__(self, model: torch.nn.Module, data: UnitRecords, parameters: RoundParameters) -> None:
        _check_parameters(parameters)
        self._parameters = parameters
        self._dimension, self._num_units = dimension(model), data.num_units

    def run_round(self, weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """Take the local steps of one round, and return what they amount to on the job's grid.

        Guarantee: the class states what the result tells about a unit. No value in the data causes an
        error. An empty sample releases what any other does.

        Args:
            weights: float64[d], the model at the start of the round; public.

        Returns:
            int64[d], in grid steps.

        Raises:
            ProtocolError: when the weights do not fit the model, or are not finite.
        """
        check_weights(weights, self._dimension)
        if not (math.isfinite(weights @ weights) or np.isfinite(weights).all()):  # the former is faster
            raise ProtocolError("weights: not all are finite → lower learning_rate")
        return self._take_steps(weights)

    @abstractmethod
    def _take_steps(self, start: NDArray[np.float64]) -> NDArray[np.int64]:
        """Take the steps of a round from checked weights."""

    def _walk(self, start: NDArray[np.float64], release: Release) -> NDArray[np.int64]:
        """Take local steps along what each releases; see the module."""
        own, moved = self._parameters, release(start, self._sample())
        rate = own["learning_rate"] / (own["sampling_prob"] * own["nominal_records"])
        kept = 1.0 - own["learning_rate"] * own.get("proximal", 0.0)
        for _ in range(1, own["local_steps"]):
            further = release(start - rate * moved, self._sample())
            moved *= kept
            moved += further
        sent = moved.view(np.int64)  # in the same memory
        for piece in pieces(len(moved)):
            sent[piece] = own["grid"].to_sent(moved[piece])
        return sent

    def _sample(self) -> NDArray[np.int64]:
        """Draw the units of one step."""
        return poisson_sample(self._parameters["rng"], self._parameters["sampling_prob"], self._num_units)


class ClippingTrainer(RoundTrainer):
    """A trainer that clips each unit's gradient; for subclasses.

    Forward and backward passes have a fixed size and a fixed number, unless a sample has more records than the declared
    size makes plausible.
    """

    def __init__(self, model: torch.nn.Module, loss: Loss, data: UnitRecords, parameters: RoundParameters) -> None:
        super().__init__(model, data, parameters)
        usual = sample_bound(parameters["nominal_records"], parameters["sampling_prob"])
        usual *= parameters.get("max_records_per_unit", 1)
        size = parameters.get("micro_batch_size") or default_micro_batch_size(model, usual)
        self._gradients = UnitGradients(
            model,
            loss,
            data,
            max_grad_norm=parameters["max_grad_norm"],
            micro_batch_size=size,
            min_micro_batches=math.ceil(usual / size),
        )


def check_noise(noise_multiplier: float) -> None:
    """Refuse a noise multiplier that protects nobody.

    Raises:
        PolicyViolation: it is not a positive number.
    """
    if not 0 < noise_multiplier < math.inf:
        raise PolicyViolation("noise_multiplier: not a positive number → calibrate it to target_epsilon")


def _check_parameters(parameters: RoundParameters) -> None:
    """Refuse public parameters that no round can run with."""
    checks = {
        "max_grad_norm": 0 < parameters["max_grad_norm"] < math.inf,
        "sampling_prob": 0 < parameters["sampling_prob"] <= 1,
        "local_steps": parameters["local_steps"] >= 1,
        "learning_rate": 0 < parameters["learning_rate"] < math.inf,
        "nominal_records": parameters["nominal_records"] >= 1,
        "max_records_per_unit": parameters.get("max_records_per_unit", 1) >= 1,
        "micro_batch_size": parameters.get("micro_batch_size", 1) >= 1,
        "proximal": 0 <= parameters["learning_rate"] * parameters.get("proximal", 0.0) <= 1,
        "grid": parameters["max_grad_norm"] / parameters["grid"].step <= MAX_STEPS_PER_UNIT,
    }
    if wrong := [name for name, holds in checks.items() if not holds]:
        raise PolicyViolation(f"trainer: {', '.join(wrong)} out of range → correct the job or the site's configuration")
