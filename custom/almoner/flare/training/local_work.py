"""What a job does with a site's data: its rounds' training, and the counts of its release. Nothing here leaves."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from almoner.flare.training.context import TrainingContext
from almoner.privacy.distributed_training import shares_that_count
from almoner.training.noise import SecureRandom
from almoner.training.round import RoundTrainer
from almoner.training.trainers import make_trainer
from almoner.training.units import UnitData
from almoner.workloads.metrics import correct_labels
from almoner.workloads.site_data import load_site_data


class LocalWork:
    """Opens the data at the first step that needs it; its caller has committed that step before.

    Args:
        model: the module that is trained; every step loads its weights anew.
    """

    def __init__(self, context: TrainingContext, model: nn.Module) -> None:
        self._context, self._model = context, model
        self._data: UnitData | None = None
        self._trainer: RoundTrainer | None = None

    def train(self, weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return one round's noised update on the job's grid, int64[d]."""
        return self._open_trainer().run_round(weights)

    def count_test_records(self, weights: NDArray[np.float64]) -> tuple[int, int]:
        """Return how many test units the model gets right and wrong: each counts once, by its first record."""
        records = self._open_data().test
        first = np.unique(records.unit, return_index=True)[1]
        correct = correct_labels(self._context.workload, weights, records)[first]
        num_correct = int(correct.sum())
        return num_correct, len(correct) - num_correct

    def _open_data(self) -> UnitData:
        """Read the data, so many records of a unit as the site declares; called only after a commit."""
        if self._data is None:
            context = self._context
            self._data = load_site_data(context.workload, context.data_path, context.dataset)
        return self._data

    def _open_trainer(self) -> RoundTrainer:
        """Build the trainer at the first round."""
        if self._trainer is None:
            spec = self._context.spec
            self._trainer = make_trainer(
                self._model,
                self._context.workload.loss,
                self._open_data().train,
                mechanism=spec.privacy.mechanism,
                noise_multiplier=self._context.plan.noise_multiplier,
                num_shares=self._num_shares(),
                max_grad_norm=spec.privacy.max_grad_norm,
                sampling_prob=spec.privacy.sampling_prob,
                local_steps=spec.training.local_steps,
                learning_rate=spec.training.learning_rate,
                proximal=spec.training.proximal,
                nominal_records=self._context.dataset.nominal_records,
                max_records_per_unit=self._context.dataset.max_records_per_unit or 1,
                grid=self._context.grid,
                rng=SecureRandom(),
            )
        return self._trainer

    def _num_shares(self) -> int:
        """Return how many sites' shares of noise must be enough; 0 where a site's noise is enough by itself."""
        spec = self._context.spec
        if spec.privacy.mechanism != "distributed_dp":
            return 0
        return shares_that_count(len(self._context.envelope.sites), spec.num_colluding_sites)
