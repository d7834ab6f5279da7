"""The integer grid that updates live on, from the site's noise to the server's sum."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from almoner.errors import PolicyViolation
from almoner.training.sampling import sample_bound

DEFAULT_LIMIT = 32_767
_NOISE_SIGMAS = 8.0


@dataclass(frozen=True, slots=True)
class UpdateGrid:
    """All multiples of `step` within ±`limit` steps.

    Args:
        step: distance of two grid points, in units of the gradient sum; a power of two, so that scaling
            by it is exact in floating point.
        limit: largest integer that is sent; 32767 fits 16 bits with sign.

    Raises:
        PolicyViolation: when the step is no power of two, or the limit is not in [1, 2^53].
    """

    step: float
    limit: int = DEFAULT_LIMIT

    def __post_init__(self) -> None:
        if not 0 < self.step < math.inf or math.frexp(self.step)[0] != 0.5:
            raise PolicyViolation(f"update grid: step {self.step} is not a power of two → use update_grid()")
        if not 1 <= self.limit <= 2**53:
            raise PolicyViolation(f"update grid: limit {self.limit} is not in [1, 2^53] → use {DEFAULT_LIMIT}")

    def sensitivity(self, max_grad_norm: float, dimension: int) -> float:
        """Return the L2 sensitivity of a clipped sum that was rounded to this grid: C + step·√d.

        Adding or removing one unit moves the sum by at most C, and rounding moves the difference by at
        most one step in each of the d coordinates.

        Args:
            max_grad_norm: C, the L2 bound on one unit's gradient.
            dimension: d, the number of coordinates.
        """
        return max_grad_norm + self.step * math.sqrt(dimension)

    def to_integers(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Round finite values, float64[d], to the nearest grid points, counted in steps; nothing saturates."""
        return np.rint(values / self.step).astype(np.int64)

    def saturate(self, integers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bring each integer into ±limit. On what is noised already, this is post-processing."""
        return np.clip(integers, -self.limit, self.limit)


def update_grid(
    max_grad_norm: float,
    sampling_prob: float,
    noise_multiplier: float,
    max_nominal_records: int,
    local_steps: int,
    dimension: int,
    limit: int = DEFAULT_LIMIT,
) -> UpdateGrid:
    """Choose the finest grid on which one round's update of any site of a job fits into ±limit.

    Guarantee: the choice depends on its arguments alone, all of them public and the same at every site.
    A round's signal (the most units that a sample of the largest site has, each of norm C) and eight
    standard deviations of its noise fit into ±limit; what lies beyond saturates, which costs accuracy only.

    Args:
        max_grad_norm: C, the L2 bound on one unit's gradient.
        sampling_prob: Poisson probability of a unit.
        noise_multiplier: σ over the sensitivity of the gridded sum; 0 for noiseless baselines.
        max_nominal_records: the largest declared size of the roster.
        local_steps: noisy steps whose sum is one update.
        dimension: d, the number of coordinates.
        limit: largest integer that is sent.

    Raises:
        PolicyViolation: when no step is coarse enough: the grid's own share of the noise, σ·step·√d, grows
            with the step.
    """
    signal = local_steps * sample_bound(max_nominal_records, sampling_prob) * max_grad_norm
    noise = _NOISE_SIGMAS * math.sqrt(local_steps) * noise_multiplier
    room = limit - local_steps - noise * math.sqrt(dimension)
    if room <= 0:
        raise PolicyViolation(
            f"update grid: noise_multiplier {noise_multiplier:g} with {dimension} parameters and {local_steps} local "
            f"steps does not fit ±{limit} → fewer local_steps, or a smaller model"
        )
    return UpdateGrid(step=2.0 ** math.ceil(math.log2((signal + noise * max_grad_norm) / room)), limit=limit)


def apply_update(
    weights: NDArray[np.float64],
    total: NDArray[np.int64],
    grid: UpdateGrid,
    learning_rate: float,
    sampling_prob: float,
    total_nominal: int,
) -> NDArray[np.float64]:
    """Return the weights after a step along a sum of updates: w − lr·step·total/(q·N).

    With N the sum of the sites' declared sizes this is FedAvg weighted by declared size. All inputs are
    public or already noised, and equal inputs give equal results everywhere.

    Args:
        weights: float64[d], the model at the start.
        total: int64[d], sum of the sites' updates in grid steps.
        grid: the job's grid.
        learning_rate: step size.
        sampling_prob: q, Poisson probability of a unit.
        total_nominal: N, sum of declared sizes of the sites in `total`.
    """
    return weights - (learning_rate * grid.step / (sampling_prob * total_nominal)) * total
