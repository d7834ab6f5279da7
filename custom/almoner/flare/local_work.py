"""What a job does with a site's data: its rounds' training, and the counts of its release. Nothing here leaves."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from almoner.flare.training_context import TrainingContext
from almoner.training.dp_sgd import DpSgdTrainer
from almoner.training.noise import SecureRandom
from almoner.training.units import UnitData
from almoner.workloads.metrics import correct_labels


class LocalWork:
    """Opens the data at the first step that needs it; its caller has committed that step before.

    Args:
        model: the module that is trained; every step loads its weights anew.
    """

    def __init__(self, context: TrainingContext, model: nn.Module) -> None:
        self._context, self._model = context, model
        self._data: UnitData | None = None
        self._trainer: DpSgdTrainer | None = None

    def train(self, weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return one round's noised update on the job's grid, int64[d]."""
        return self._open_trainer().run_round(weights)

    def count_test_records(self, weights: NDArray[np.float64]) -> tuple[int, int]:
        """Return how many test records the model gets right and wrong."""
        correct = correct_labels(self._context.workload, weights, self._open_data().test)
        num_correct = int(correct.sum())
        return num_correct, len(correct) - num_correct

    def _open_data(self) -> UnitData:
        """Read the data; called only after a commit."""
        if self._data is None:
            self._data = self._context.workload.load(self._context.data_path)
        return self._data

    def _open_trainer(self) -> DpSgdTrainer:
        """Build the trainer at the first round."""
        if self._trainer is None:
            spec = self._context.spec
            self._trainer = DpSgdTrainer(
                self._model,
                self._context.workload.loss,
                self._open_data().train,
                max_grad_norm=spec.privacy.max_grad_norm,
                noise_multiplier=self._context.plan.noise_multiplier,
                sampling_prob=spec.privacy.sampling_prob,
                local_steps=spec.training.local_steps,
                learning_rate=spec.training.learning_rate,
                nominal_records=self._context.dataset.nominal_records,
                grid=self._context.grid,
                rng=SecureRandom(),
            )
        return self._trainer
