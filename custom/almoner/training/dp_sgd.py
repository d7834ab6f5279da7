"""One DP-SGD step at a site: sample units, clip, sum, add integer noise on a fine lattice.

The clipped sum is put on a lattice of step h, a power of two of about 2^-26 C, and noised there in integers. Rounding
moves the difference of two neighbours' sums by at most h in each of the d coordinates, so the sensitivity is C + h·√d:
above C by less than 2^-15 of it for a million coordinates, and the noise is sized by all of it. The integers are held
as doubles: beyond 2^53 their sum is rounded, but that is a function of the exact sum, so post-processing. So is that
the round's sum is then rounded to the job's much coarser grid.

Reference: Abadi et al., arXiv:1607.00133; Poisson sampling and the accountant's view of it:
Mironov, Talwar, Zhang, arXiv:1908.10530.
"""

import math
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from almoner.schema.receipt import SampledGaussian
from almoner.training.flat import pieces
from almoner.training.gradients import Loss
from almoner.training.grid import UpdateGrid
from almoner.training.round import ClippingTrainer, RoundParameters, check_noise
from almoner.training.units import UnitRecords

_LATTICE_BITS = 26


def noise_lattice(max_grad_norm: float, step: float) -> UpdateGrid:
    """Return the lattice on which a step is noised: never coarser than the job's grid.

    Args:
        max_grad_norm: C.
        step: of the job's grid.
    """
    fine = 2.0 ** (math.ceil(math.log2(max_grad_norm)) - _LATTICE_BITS)
    return UpdateGrid(step=min(fine, step), limit=2**53)


class DpSgdTrainer(ClippingTrainer):
    """DP-SGD at one site.

    Guarantee: each call of `run_round` realises `round_event`: `local_steps` adaptive Poisson-subsampled
    Gaussian mechanisms with sampling probability `sampling_prob` and noise of standard deviation
    `noise_multiplier` times the L2 sensitivity C + h·√d of the clipped sum on its lattice; under adding or
    removing one privacy unit with all of its records. Everything after the noise is post-processing. It holds for
    the trainer's result, not for its running time, and in the precision that `gradients` and `noise` state. The
    divisor is the declared size; nothing depends on the true one.

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
        check_noise(noise_multiplier)
        super().__init__(model, loss, data, parameters)
        self._noise_multiplier = noise_multiplier
        self._lattice = noise_lattice(parameters["max_grad_norm"], parameters["grid"].step)
        sensitivity = self._lattice.sensitivity(parameters["max_grad_norm"], self._dimension)
        self._scale = noise_multiplier * sensitivity / self._lattice.step

    @property
    def round_event(self) -> SampledGaussian:
        """What one round costs."""
        return SampledGaussian(
            kind="sampled_gaussian",
            noise_multiplier=self._noise_multiplier,
            sampling_prob=self._parameters["sampling_prob"],
            count=self._parameters["local_steps"],
        )

    def _take_steps(self, start: NDArray[np.float64]) -> NDArray[np.int64]:
        return self._walk(start, self._release)

    def _release(self, weights: NDArray[np.float64], units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the noised sum: a multiple of the lattice's step."""
        released = self._gradients.clipped_sum(weights, units)
        for piece in pieces(self._dimension):
            part = released[piece]
            part /= self._lattice.step
            np.rint(part, out=part)
            part += self._parameters["rng"].gaussian_integers(self._scale, len(part))
            part *= self._lattice.step
        return released


class UnsafeNoiselessTrainer(ClippingTrainer):
    """The same round without noise: no privacy at all, for baselines on public data only."""

    def __init__(
        self, model: torch.nn.Module, loss: Loss, data: UnitRecords, **parameters: Unpack[RoundParameters]
    ) -> None:
        super().__init__(model, loss, data, parameters)

    def _take_steps(self, start: NDArray[np.float64]) -> NDArray[np.int64]:
        return self._walk(start, self._gradients.clipped_sum)
