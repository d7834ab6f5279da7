"""The integer grid that updates live on, from the site's noise to the server's sum."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from almoner.errors import PolicyViolation
from almoner.privacy.distributed_training import shared_step
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
        return self._steps(values).astype(np.int64)

    def to_sent(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Round finite values, float64[d], to the nearest grid points within ±limit, counted in steps.

        Of what is noised already, saturation is post-processing. Each result is an integer, and a double holds it.
        """
        steps = self._steps(values)
        return np.clip(steps, -self.limit, self.limit, out=steps)

    def _steps(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Count in steps, to the nearest integer."""
        steps = values / self.step
        return np.rint(steps, out=steps)


def update_grid(
    max_grad_norm: float,
    sampling_prob: float,
    noise_multiplier: float,
    max_nominal_records: int,
    local_steps: int,
    limit: int = DEFAULT_LIMIT,
) -> UpdateGrid:
    """Choose the finest grid on which one round's update of any site of a job fits into ±limit.

    Guarantee: the choice depends on its arguments alone, all of them public and the same at every site.
    A round's signal (the most units that a sample of the largest site has, each of norm C and all along one
    coordinate) and eight standard deviations of its noise fit into ±limit. But the step is never larger than the
    noise's standard deviation, however small the limit: on such a grid the noise still carries what lies between
    two points (it adds at most a twelfth to the variance), on a coarser one most of the signal is rounded away.
    What lies beyond ±limit saturates, which costs accuracy only.

    Args:
        max_grad_norm: C, the L2 bound on one unit's gradient.
        sampling_prob: Poisson probability of a unit.
        noise_multiplier: σ over the sensitivity, which is C but for less than a thousandth; 0 without noise.
        max_nominal_records: the largest declared size of the roster.
        local_steps: noisy steps whose sum is one update.
        limit: largest integer that is sent, from 2.
    """
    signal = local_steps * sample_bound(max_nominal_records, sampling_prob) * max_grad_norm
    deviation = math.sqrt(local_steps) * noise_multiplier * max_grad_norm
    exponent = math.ceil(math.log2((signal + _NOISE_SIGMAS * deviation) / (limit - 1)))
    if deviation > 0:
        exponent = min(exponent, math.floor(math.log2(deviation)))
    return UpdateGrid(step=2.0**exponent, limit=limit)


def shared_grid(max_grad_norm: float, noise_multiplier: float, num_shares: int, dimension: int) -> UpdateGrid:
    """Return the grid of a job with distributed noise: so fine that rounding adds next to nothing. Nothing saturates.

    Args:
        max_grad_norm: C.
        noise_multiplier: σ over the L2 sensitivity, of `num_shares` shares together.
        num_shares: t - c.
        dimension: d.
    """
    return UpdateGrid(shared_step(max_grad_norm, noise_multiplier, num_shares, dimension), limit=2**53)


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
    return weights - mean_step(total, grid, learning_rate, sampling_prob, total_nominal)


def mean_step(
    total: NDArray[np.int64], grid: UpdateGrid, learning_rate: float, sampling_prob: float, total_nominal: int
) -> NDArray[np.float64]:
    """Return how far a sum of updates takes the weights; see `apply_update`."""
    return total.astype(np.float64) * (learning_rate * grid.step / (sampling_prob * total_nominal))
