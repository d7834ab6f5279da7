"""What a learning task must give: a model, a data adapter, a loss. Privacy is not its business."""

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from almoner.training.flat import dimension, flatten
from almoner.training.units import UnitData, UnitRecords

EVALUATION_BATCH = 1024
"""Records in one forward pass when a model is measured."""


class Workload(ABC):
    """One learning task. It holds no state; everything about it is public code."""

    name: ClassVar[str]

    @property
    def dimension(self) -> int:
        """The number of the model's parameters."""
        return dimension(self.build_model())

    @property
    def initial_weights(self) -> str:
        """The SHA-256 of the weights that training starts from, as little-endian float64."""
        return hashlib.sha256(flatten(self.build_model()).astype("<f8").tobytes()).hexdigest()

    @abstractmethod
    def build_model(self) -> torch.nn.Module:
        """Build the model with its initial weights.

        Guarantee: the weights are the same at every call and every site, and owe nothing to data.
        """

    @abstractmethod
    def load(self, path: Path) -> UnitData:
        """Load a site's file.

        Guarantee: what becomes of a record is a function of this record alone, and no value in a record
        raises an error; only the file's structure does.

        Raises:
            DataError: when the file is missing or is not of the expected form. Local; never sent.
        """

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return one loss a record, Tensor[n]; no value of a target raises an error."""

    @abstractmethod
    def predict(self, outputs: Tensor) -> Tensor:
        """Return one label a record, comparable with the targets."""

    def figures(self, model: torch.nn.Module, records: UnitRecords) -> dict[str, float]:
        """Return named figures of quality, the main one first; each is NaN where the records do not give it.

        Private numbers: for public data, or through a release.

        Args:
            model: one of `build_model`, with any weights.
            records: any number, also none.
        """
        labels = self.predict(batched_outputs(model, records.features))
        return {"accuracy": float((labels == records.targets).double().mean())}


def batched_outputs(model: torch.nn.Module, features: Tensor) -> Tensor:
    """Return a model's outputs, Tensor[n, ...], computed in batches.

    Args:
        model: is set to evaluate.
        features: Tensor[n, ...], also of no records.
    """
    model.eval()
    with torch.no_grad():
        return torch.cat([model(batch) for batch in torch.split(features, EVALUATION_BATCH)])
