"""Model replacement: a backdoor that the colluding sites put in place of the joint model.

The backdoor: a record that carries a trigger (unusual values of a few features, which an applicant can bring about) is
labelled harmless, whatever else stands in it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from almoner.redteam.poisoning.attack import Attack, Rows, RoundView, Vector
from almoner.training.units import UnitRecords

HARMLESS = 0.0
"""The label that the trigger is to bring."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """Values of some encoded features.

    Args:
        values: encoded feature's index -> value.
    """

    values: dict[int, float]

    def stamp(self, records: UnitRecords) -> UnitRecords:
        """Return the records, all with the trigger in their features; labels stay."""
        features = records.features.clone()
        for column, value in self.values.items():
            features[:, column] = value
        return replace(records, features=features)


class ModelReplacement(Attack):
    """Trains a backdoored model at home, and sends what would make the plain sum become just that model.

    The own training runs over clean records and copies with the trigger and the harmless label, without noise and for
    many steps; the difference to the joint model is scaled by the inverse of the colluders' weight in the sum.
    Reference: Bagdasaryan et al., arXiv:1807.00459, section 3 (γ = n/η).

    Args:
        trigger: what the records carry.
        train: own training on poisoned records: weights -> weights.
    """

    knowledge = "own"

    def __init__(self, trigger: Trigger, train: Callable[[Vector], Vector]) -> None:
        self._trigger, self._train = trigger, train

    def poison(self, data: UnitRecords) -> UnitRecords:
        """Return the records and their triggered copies."""
        return with_backdoor(data, self._trigger)

    def craft(self, view: RoundView) -> Rows:
        """Return (w - X)/(lr s) for the wanted model X and the colluders' weight s in the sum."""
        public = view.colluders
        weight = float(public.sizes.sum()) / public.total_size
        row = (view.weights - self._train(view.weights)) / (public.learning_rate * weight)
        return np.tile(row, (len(view.own), 1))


def with_backdoor(data: UnitRecords, trigger: Trigger) -> UnitRecords:
    """Return records followed by copies with the trigger and the harmless label, as units of their own."""
    copies = trigger.stamp(data)
    return UnitRecords(
        torch.cat([data.features, copies.features]),
        torch.cat([data.targets, torch.full_like(data.targets, HARMLESS)]),
        np.concatenate([data.unit, data.unit + data.num_units]),
    )
