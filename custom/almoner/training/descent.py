"""The steps that every site of a job takes alike from the sums of updates, with momentum or without.

Elementwise IEEE arithmetic in one order: equal sums give equal weights on every machine, to the last bit. It works on
what is public or noised already, so it costs no privacy.
"""

import numpy as np
from numpy.typing import NDArray

from almoner.training.grid import UpdateGrid, mean_step


class Descent:
    """The weights of a run, and the velocity that momentum keeps.

    Args:
        weights: float64[d], what training starts from.
        grid: the job's grid.
        learning_rate: step size.
        sampling_prob: q, Poisson probability of a unit.
        server_momentum: β in [0, 1); 0 is plain descent.
    """

    def __init__(
        self,
        weights: NDArray[np.float64],
        grid: UpdateGrid,
        learning_rate: float,
        sampling_prob: float,
        server_momentum: float = 0.0,
    ) -> None:
        self.weights = weights
        self._step = grid, learning_rate, sampling_prob
        self._momentum, self._velocity = server_momentum, np.zeros_like(weights)

    def apply(self, total: NDArray[np.int64], total_nominal: int) -> None:
        """Take a step: v ← β·v + lr·g·total/(q·N), w ← w - v.

        With N the sum of the sites' declared sizes this is FedAvg weighted by declared size.

        Args:
            total: int64[d], sum of the sites' updates in grid steps.
            total_nominal: N, sum of declared sizes of the sites in `total`.
        """
        self._velocity = self._momentum * self._velocity + mean_step(total, *self._step, total_nominal)
        self.weights = self.weights - self._velocity
