"""Model replacement: a backdoor that the colluding sites put in place of the joint model.

The backdoor: a record that carries a trigger (unusual values of a few features, which an applicant can bring about) is
labelled harmless, whatever else stands in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from almoner.redteam.poisoning.attack import Attack, RoundView, Rows, Vector, repeat
from almoner.training.units import UnitRecords

HARMLESS = 0.0
"""The label that the trigger is to bring."""

RISKIEST = 0.1
"""Share of records that count as refused, by the model's own scores."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """Values of some encoded features, by the feature's index."""

    values: Mapping[int, float]

    def stamp(self, records: UnitRecords) -> UnitRecords:
        """Return the records, all with the trigger in their features; labels stay."""
        features = records.features.clone()
        for column, value in self.values.items():
            features[:, column] = value
        return replace(records, features=features)


class ModelReplacement(Attack):
    """Trains a backdoored model at home, and sends what would make the plain sum become just that model.

    The difference of the wanted model X to the joint one is divided by the colluders' weight in the sum; the grid's
    limit bounds what gets through in one round. Reference: Bagdasaryan et al., arXiv:1807.00459, section 3 (γ = n/η).

    Args:
        train: the own training, on records with the backdoor: weights -> weights.
    """

    knowledge = "own"

    def __init__(self, train: Callable[[Vector], Vector]) -> None:
        self._train = train

    def craft(self, view: RoundView) -> Rows:
        """Return (w - X)/(lr s), with s the colluders' weight in the sum."""
        public = view.colluders
        weight = float(public.sizes.sum()) / public.total_size
        return repeat((view.weights - self._train(view.weights)) / (public.learning_rate * weight), view)


def with_backdoor(data: UnitRecords, trigger: Trigger) -> UnitRecords:
    """Return records followed by copies with the trigger and the harmless label, as units of their own."""
    copies = trigger.stamp(data)
    return UnitRecords(
        torch.cat([data.features, copies.features]),
        torch.cat([data.targets, torch.full_like(data.targets, HARMLESS)]),
        np.concatenate([data.unit, data.unit + data.num_units]),
    )


def backdoor_success(scores: NDArray[np.float64], triggered: NDArray[np.float64], harmful: NDArray[np.bool_]) -> float:
    """Return how many of the harmful records that a model refuses it lets pass when they carry the trigger.

    Refused is what scores among the riskiest tenth of all records without trigger.

    Args:
        scores: float64[n], the model's outputs, high is harmful.
        triggered: float64[n], its outputs on the same records with the trigger.
        harmful: bool[n], the labels.

    Returns:
        A share in [0, 1]; NaN where it refuses no harmful record.
    """
    threshold = float(np.quantile(scores, 1 - RISKIEST))
    refused = harmful & (scores >= threshold)
    return float((triggered[refused] < threshold).mean()) if refused.any() else float("nan")
