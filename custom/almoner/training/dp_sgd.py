"""One DP-SGD round at a site: sample units, clip, sum onto the grid, add integer noise, step.

Reference: Abadi et al., arXiv:1607.00133; Poisson sampling and the accountant's view of it:
Mironov, Talwar, Zhang, arXiv:1908.10530.
"""

import math
from abc import ABC, abstractmethod
from typing import NotRequired, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from almoner.errors import PolicyViolation, ProtocolError
from almoner.schema.receipt import SampledGaussian
from almoner.training.flat import check_weights, dimension
from almoner.training.gradients import Loss, UnitGradients
from almoner.training.grid import UpdateGrid, apply_update
from almoner.training.noise import RandomSource
from almoner.training.sampling import poisson_sample, sample_bound
from almoner.training.units import UnitRecords

DEFAULT_MICRO_BATCH_SIZE = 64
MAX_STEPS_PER_UNIT = 2.0**45
"""Finest grid allowed, as C/step: 2^18 units of full norm still fit 64-bit integers."""


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
        micro_batch_size: records in one pass; changes speed only.
    """

    max_grad_norm: float
    sampling_prob: float
    local_steps: int
    learning_rate: float
    nominal_records: int
    grid: UpdateGrid
    rng: RandomSource
    micro_batch_size: NotRequired[int]


class RoundTrainer(ABC):
    """What private and noiseless rounds share; not for use by itself."""

    def __init__(
        self, model: torch.nn.Module, loss: Loss, data: UnitRecords, **parameters: Unpack[RoundParameters]
    ) -> None:
        _check_parameters(parameters)
        self._parameters = parameters
        self._dimension, self._num_units = dimension(model), data.num_units
        size = parameters.get("micro_batch_size", DEFAULT_MICRO_BATCH_SIZE)
        usual = sample_bound(parameters["nominal_records"], parameters["sampling_prob"])
        self._gradients = UnitGradients(
            model,
            loss,
            data,
            max_grad_norm=parameters["max_grad_norm"],
            micro_batch_size=size,
            min_micro_batches=math.ceil(usual / size),
        )

    def run_round(self, weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """Take the local steps of one round, and return the sum of their noised gradient sums.

        Guarantee: the class states what the result tells about a unit. No value in the data causes an
        error. An empty sample releases noise as any other. Forward and backward passes have a fixed size
        and a fixed number, unless a sample has more records than the declared size makes plausible.

        Args:
            weights: float64[d], the model at the start of the round; public.

        Returns:
            int64[d], in grid steps, within ±limit.

        Raises:
            ProtocolError: when the weights do not fit the model, or are not finite.
        """
        check_weights(weights, self._dimension)
        if not np.isfinite(weights).all():
            raise ProtocolError("weights: not all are finite → lower learning_rate")
        grid, sampling_prob = self._parameters["grid"], self._parameters["sampling_prob"]
        step = (grid, self._parameters["learning_rate"], sampling_prob, self._parameters["nominal_records"])
        total = np.zeros(self._dimension, np.int64)
        for _ in range(self._parameters["local_steps"]):
            units = poisson_sample(self._parameters["rng"], sampling_prob, self._num_units)
            released = grid.to_integers(self._gradients.clipped_sum(weights, units)) + self._noise()
            weights = apply_update(weights, released, *step)
            total += released
        return grid.saturate(total)

    @abstractmethod
    def _noise(self) -> NDArray[np.int64]:
        """Return one step's noise, int64[d], in grid steps."""


class DpSgdTrainer(RoundTrainer):
    """DP-SGD at one site.

    Guarantee: each call of `run_round` realises `round_event`: `local_steps` adaptive Poisson-subsampled
    Gaussian mechanisms with sampling probability `sampling_prob` and noise of standard deviation
    `noise_multiplier` times the L2 sensitivity C + step·√d of the gridded, clipped sum; under adding or
    removing one privacy unit with all of its records. The sum over local steps and its saturation are
    post-processing. It holds for the trainer's result, not for its running time, and in the precision that
    `gradients` and `noise` state. The divisor is the declared size; nothing depends on the true one.

    Args:
        model: architecture; its weights are replaced in every round. Is copied.
        loss: (outputs, targets) -> one loss a record.
        data: the training records; test records are not for the trainer.
        noise_multiplier: σ over the L2 sensitivity.
        parameters: see `RoundParameters`.

    Raises:
        PolicyViolation: when a parameter is out of range, or the model does not allow per-record gradients.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Loss,
        data: UnitRecords,
        *,
        noise_multiplier: float,
        **parameters: Unpack[RoundParameters],
    ) -> None:
        if not 0 < noise_multiplier < math.inf:
            raise PolicyViolation("noise_multiplier: not a positive number → calibrate it to target_epsilon")
        super().__init__(model, loss, data, **parameters)
        self._noise_multiplier = noise_multiplier
        grid = parameters["grid"]
        self._scale = noise_multiplier * grid.sensitivity(parameters["max_grad_norm"], self._dimension) / grid.step

    @property
    def round_event(self) -> SampledGaussian:
        """What one round costs."""
        return SampledGaussian(
            kind="sampled_gaussian",
            noise_multiplier=self._noise_multiplier,
            sampling_prob=self._parameters["sampling_prob"],
            count=self._parameters["local_steps"],
        )

    def _noise(self) -> NDArray[np.int64]:
        return self._parameters["rng"].gaussian_integers(self._scale, self._dimension)


class UnsafeNoiselessTrainer(RoundTrainer):
    """The same round without noise: no privacy at all, for baselines on public data only."""

    def _noise(self) -> NDArray[np.int64]:
        return np.zeros(self._dimension, np.int64)


def _check_parameters(parameters: RoundParameters) -> None:
    """Refuse public parameters that no round can run with."""
    checks = {
        "max_grad_norm": 0 < parameters["max_grad_norm"] < math.inf,
        "sampling_prob": 0 < parameters["sampling_prob"] <= 1,
        "local_steps": parameters["local_steps"] >= 1,
        "learning_rate": 0 < parameters["learning_rate"] < math.inf,
        "nominal_records": parameters["nominal_records"] >= 1,
        "micro_batch_size": parameters.get("micro_batch_size", 1) >= 1,
        "grid": parameters["max_grad_norm"] / parameters["grid"].step <= MAX_STEPS_PER_UNIT,
    }
    if wrong := [name for name, holds in checks.items() if not holds]:
        raise PolicyViolation(f"trainer: {', '.join(wrong)} out of range → correct the job or the site's configuration")
