"""What a server sees of one round of one step: the update of a site, with protections off and on.

Each update is one call of a real trainer's `run_round`: the one without privacy, the one that clips, or the job's own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from almoner.redteam.reconstruction.networks import classification_loss
from almoner.training.dp_sgd import UnsafeNoiselessTrainer
from almoner.training.flat import flatten
from almoner.training.grid import UpdateGrid
from almoner.training.noise import UnsafeSeededRandom
from almoner.training.plain_sgd import UnsafePlainTrainer
from almoner.training.round import RoundParameters, RoundTrainer
from almoner.training.trainers import make_trainer
from almoner.training.units import UnitRecords

SITES_IN_A_SUM = 5
"""How many sites a securely aggregated sum is of."""

_UNCUT = 1e4
"""C of the raw update: no gradient here is so long."""

_GRID = UpdateGrid(step=2.0**-24, limit=2**53)


@dataclass(frozen=True, slots=True)
class View:
    """One state of the protections.

    Args:
        name: as in reports.
        clipped: each picture's gradient is cut to C.
        noised: the job's noise is added at each site.
        summed: the server sees the sum over `SITES_IN_A_SUM` sites.
    """

    name: str
    clipped: bool
    noised: bool
    summed: bool

    @property
    def sites(self) -> int:
        """How many sites' updates are in what is seen."""
        return SITES_IN_A_SUM if self.summed else 1


VIEWS = (
    View("raw", clipped=False, noised=False, summed=False),
    View("clipped", clipped=True, noised=False, summed=False),
    View("clipped and noised", clipped=True, noised=True, summed=False),
    View("securely aggregated, raw", clipped=False, noised=False, summed=True),
    View("securely aggregated, clipped and noised", clipped=True, noised=True, summed=True),
)

Batches = Callable[[int], UnitRecords]
"""Number of a site -> its batch."""


@dataclass(frozen=True, slots=True)
class Protection:
    """The job's C and σ."""

    max_grad_norm: float
    noise_multiplier: float


def seen_update(
    model: nn.Module, batches: Batches, view: View, protection: Protection, seed: int
) -> NDArray[np.float64]:
    """Return what the server sees of one step at a model's weights, as a sum of gradients, float64[d].

    Args:
        model: with the weights at which the step is taken.
        batches: of which site number 0 holds the pictures that are attacked.
        view: which protections are on.
        protection: the job's C and σ.
        seed: of the noise.
    """
    total = np.zeros(len(flatten(model)), dtype=np.int64)
    for site in range(view.sites):
        trainer = _trainer(model, batches(site), view, protection, 1000 * seed + site)
        total += trainer.run_round(flatten(model))
    return total.astype(np.float64) * _GRID.step


def _trainer(model: nn.Module, batch: UnitRecords, view: View, protection: Protection, seed: int) -> RoundTrainer:
    """Return a trainer whose step takes the whole batch."""
    parameters = RoundParameters(
        max_grad_norm=protection.max_grad_norm if view.clipped else _UNCUT,
        sampling_prob=1.0,
        local_steps=1,
        learning_rate=1.0,
        nominal_records=max(1, batch.num_units),
        grid=_GRID,
        rng=UnsafeSeededRandom(seed),
    )
    if view.noised:
        noise = protection.noise_multiplier
        return make_trainer(model, classification_loss, batch, mechanism="dp_sgd", noise_multiplier=noise, **parameters)
    kind = UnsafeNoiselessTrainer if view.clipped else UnsafePlainTrainer
    return kind(model, classification_loss, batch, **parameters)
