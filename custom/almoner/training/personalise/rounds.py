"""Rounds of noised steps at all sites, each metered."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from almoner.training.descent import Descent
from almoner.training.grid import UpdateGrid
from almoner.training.personalise.plan import PersonalPlan
from almoner.training.personalise.pull import Weights
from almoner.training.personalise.silos import Meter
from almoner.training.round import RoundTrainer


class Rounds:
    """Rounds of one kind at all sites: one model, one grid, one number of local steps.

    Args:
        plan: the public numbers.
        local_steps: noised steps of a round.
        grid: of the updates.
        trainers: the sites' trainers by name.
        nominal_records: their declared sizes.
        meters: what each site was charged; other rounds draw on the same.
    """

    def __init__(
        self,
        plan: PersonalPlan,
        local_steps: int,
        grid: UpdateGrid,
        trainers: Mapping[str, RoundTrainer],
        nominal_records: Mapping[str, int],
        meters: Mapping[str, Meter],
    ) -> None:
        self._plan, self._local_steps, self._grid = plan, local_steps, grid
        self._trainers, self._meters = trainers, meters
        self.nominal_records, self.total_nominal = nominal_records, sum(nominal_records.values())

    def update(self, site: str, weights: Weights) -> NDArray[np.int64]:
        """Let one site take a round from some weights, and return its noised update, int64[d] in grid steps.

        Raises:
            BudgetExceeded: when the site was not charged for it; its data is not touched.
        """
        self._meters[site].take(self._local_steps)
        return self._trainers[site].run_round(weights)

    def updates(self, weights: Mapping[str, Weights]) -> dict[str, NDArray[np.int64]]:
        """Let every site take a round, each from its own weights; see `update`."""
        return {site: self.update(site, weights[site]) for site in self._trainers}

    def shared_step(self, descent: Descent) -> None:
        """Let every site take a round from the same weights, and step along the sum of their updates."""
        descent.apply(total_of(self.updates(dict.fromkeys(self._trainers, descent.weights))), self.total_nominal)

    def own_step(self, site: str, descent: Descent) -> None:
        """Let one site take a round from its own weights, and step along its update."""
        descent.apply(self.update(site, descent.weights), self.nominal_records[site])

    def descent(self, weights: Weights, learning_rate: float) -> Descent:
        """Return a descent from some weights along such updates, with the job's momentum."""
        plan = self._plan
        return Descent(weights, self._grid, learning_rate, plan.sampling_prob, plan.server_momentum)


def total_of(updates: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the sum of the sites' updates, int64[d]: what leaves under secure aggregation."""
    total: NDArray[np.int64] = np.stack(list(updates.values())).sum(axis=0)
    return total
