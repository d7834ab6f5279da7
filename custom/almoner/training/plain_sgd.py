"""Training without privacy: the gradient sum of a sample, as a whole cut to a norm; for public data alone.

No unit is clipped and nothing is noised, so no gradient of a single record is needed: one ordinary backward pass for
each micro-batch. A step's sample is one of records, each with probability q, not of units: the sum is the same on
average, and varies far less where units differ in size. The cut is what recurrent networks need so that a rare steep
gradient does not end the training.
"""

import copy
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from almoner.errors import PolicyViolation
from almoner.training.flat import unflatten
from almoner.training.gradients import Loss
from almoner.training.round import RoundParameters, RoundTrainer
from almoner.training.sampling import poisson_sample
from almoner.training.units import UnitRecords

MICRO_BATCH_SIZE = 256


class UnsafePlainTrainer(RoundTrainer):
    """Mini-batch gradient descent at one site. It protects nobody.

    Guarantee: none about privacy; admission lets it run where the data set is registered `public: true` alone. A step's
    gradient sum has norm at most C·q·N, so that the mean gradient has at most C; one that is not finite becomes 0.

    Args:
        model: architecture; its weights are replaced in every round. Is copied.
        loss: (outputs, targets) -> one loss a record.
        data: the training records.
        parameters: see `RoundParameters`.

    Raises:
        PolicyViolation: when a parameter is out of range, or the model has buffers, which no update carries.
    """

    def __init__(
        self, model: torch.nn.Module, loss: Loss, data: UnitRecords, **parameters: Unpack[RoundParameters]
    ) -> None:
        super().__init__(model, data, parameters)
        if next(model.buffers(), None) is not None:
            raise PolicyViolation("model: a layer has buffers, which no update carries → use GroupNorm or LayerNorm")
        self._model, self._loss, self._data = copy.deepcopy(model), loss, data
        self._size = parameters.get("micro_batch_size", MICRO_BATCH_SIZE)
        self._bound = parameters["max_grad_norm"] * parameters["sampling_prob"] * parameters["nominal_records"]
        self._model.train()

    def _take_steps(self, start: NDArray[np.float64]) -> NDArray[np.int64]:
        return self._walk(start, self._cut_sum)

    def _sample(self) -> NDArray[np.int64]:
        return poisson_sample(self._parameters["rng"], self._parameters["sampling_prob"], len(self._data.unit))

    def _cut_sum(self, weights: NDArray[np.float64], records: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the sum, cut to the norm that C means for it."""
        total = self._gradient_sum(weights, records)
        norm = float(np.linalg.norm(total))
        if not np.isfinite(norm):
            return np.zeros_like(total)
        return total * min(1.0, self._bound / norm) if norm > 0 else total

    def _gradient_sum(self, weights: NDArray[np.float64], records: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the sum of the gradients of some records, float64[d]."""
        unflatten(self._model, weights)
        self._model.zero_grad(set_to_none=True)
        for start in range(0, len(records), self._size):
            part = torch.from_numpy(records[start : start + self._size])
            outputs = self._model(self._data.features[part])
            self._loss(outputs, self._data.targets[part]).sum().backward()  # type: ignore[no-untyped-call]
        parts = [
            torch.zeros(parameter.numel()) if parameter.grad is None else parameter.grad.reshape(-1)
            for _, parameter in self._model.named_parameters()
        ]
        return torch.cat([part.to(torch.float64) for part in parts]).cpu().numpy()
