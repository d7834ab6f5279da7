"""One step of DP-SGD whose noise is shared: a site's clipped sum on an integer grid, with its share of the noise.

By itself a share protects nobody: it is for secure aggregation modulo p alone, which opens nothing but a total of at
least t sites. See `privacy/distributed_training.py` for what that total guarantees, and why.
"""

from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from almoner.errors import PolicyViolation
from almoner.privacy.distributed_training import share_sigma
from almoner.training.gradients import Loss
from almoner.training.round import ClippingTrainer, RoundParameters, check_noise
from almoner.training.units import UnitRecords


class DistributedTrainer(ClippingTrainer):
    """A site's part of DP-SGD with distributed noise.

    Guarantee: `run_round` returns, coordinate by coordinate, the clipped sum of one Poisson sample rounded to the grid,
    plus a discrete Gaussian of σ_i steps: nothing is clamped and nothing refused, whatever the values are. Adding or
    removing one unit moves the rounded sum by an integer vector of norm at most (C + g·√d)/g.

    Args:
        model: architecture; its weights are replaced in every round. Is copied.
        loss: (outputs, targets) -> one loss a record.
        data: the training records.
        noise_multiplier: σ over the L2 sensitivity, of `num_shares` shares together.
        num_shares: t - c.
        parameters: see `RoundParameters`; one local step, and no proximal term.

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
        num_shares: int,
        **parameters: Unpack[RoundParameters],
    ) -> None:
        check_noise(noise_multiplier)
        if parameters["local_steps"] != 1 or parameters.get("proximal", 0.0):
            raise PolicyViolation("distributed_dp: takes one local step and no proximal term → correct the job")
        super().__init__(model, loss, data, parameters)
        sensitivity = parameters["grid"].sensitivity(parameters["max_grad_norm"], self._dimension)
        self._sigma = share_sigma(noise_multiplier, sensitivity / parameters["grid"].step, num_shares)

    def _take_steps(self, start: NDArray[np.float64]) -> NDArray[np.int64]:
        exact = self._parameters["grid"].to_integers(self._gradients.clipped_sum(start, self._sample()))
        return exact + self._parameters["rng"].discrete_gaussian(self._sigma, self._dimension)
