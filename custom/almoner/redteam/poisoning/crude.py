"""Attacks that need no more than a site's own data: sign flip, Gaussian noise, flipped labels."""

from dataclasses import replace

import numpy as np

from almoner.errors import DataError
from almoner.redteam.poisoning.attack import Attack, RoundView, Rows
from almoner.training.units import UnitRecords


class SignFlip(Attack):
    """Sends the opposite of the own honest update, scaled so that the plain sum points backwards.

    With colluders of weight s in the sum and updates all alike, the sum becomes -(1 - s) times the honest one: the
    federation climbs where it should descend. Reference: Li et al., arXiv:1811.03761, section 5 (there: times -4).
    """

    knowledge = "own"

    def craft(self, view: RoundView) -> Rows:
        """Return -2 (1 - s)/s times the own rows."""
        return -2.0 * view.colluders.overweight * view.own


class GaussianNoise(Attack):
    """Sends normal noise with no signal, as loud as the grid takes without often hitting its limit.

    Reference: Blanchard et al., arXiv:1703.02757, section 5 (there: a standard deviation of 200).
    """

    knowledge = "own"
    LIMIT_SIGMAS = 3.0

    def craft(self, view: RoundView) -> Rows:
        """Return independent normal entries whose standard deviation is a third of the limit."""
        scale = view.colluders.unit * (view.colluders.grid.limit / self.LIMIT_SIGMAS)
        return scale * view.rng.normal(size=view.own.shape)


class LabelFlip(Attack):
    """Trains honestly, noise and all, on records whose labels 0 and 1 are exchanged.

    Reference: Tolpegin et al., arXiv:2007.08432.
    """

    knowledge = "own"

    def poison(self, data: UnitRecords) -> UnitRecords:
        """Return the records with 1 - label.

        Raises:
            DataError: when a label is neither 0 nor 1.
        """
        if not set(np.unique(data.targets.numpy())) <= {0.0, 1.0}:
            raise DataError("label flip: labels other than 0 and 1 → choose another attack")
        return replace(data, targets=1 - data.targets)

    def craft(self, view: RoundView) -> Rows:
        """Return the own rows, which carry the flipped labels."""
        return view.own
