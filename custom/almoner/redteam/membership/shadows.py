"""Shadow models: the job trained again and again, each time on a random half of its training units."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from almoner.errors import DataError
from almoner.experiments.public import PublicSite
from almoner.experiments.simulate import TrainingPlan, Weights, simulate_federation
from almoner.training.noise import RandomSource, UnsafeSeededRandom
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.base import Workload
from almoner.workloads.metrics import outputs_at

Train = Callable[[Mapping[str, PublicSite], RandomSource], Weights]
"""(sites, randomness) -> the model's final weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Shadows:
    """What many models say of the same units.

    Args:
        included: bool[models, units], which units each was trained on.
        losses: float64[models, units], mean loss over a unit's records.
        population: float64[models, z], the same of test units, which none was trained on.
    """

    included: NDArray[np.bool_]
    losses: NDArray[np.float64]
    population: NDArray[np.float64]


def by_plan(workload: Workload, plan: TrainingPlan, noise_multiplier: float) -> Train:
    """Return a way of training: a federation whose updates are added up.

    Args:
        workload: the task.
        plan: the public numbers; mechanism `none` for no privacy.
        noise_multiplier: σ, not used without privacy.
    """

    def train(sites: Mapping[str, PublicSite], rng: RandomSource) -> Weights:
        return simulate_federation(workload, sites, plan, noise_multiplier=noise_multiplier, rng=rng)

    return train


def balanced_draw(models: int, units: int, seed: int) -> NDArray[np.bool_]:
    """Draw which units each model is trained on, so that each unit is in half of the models.

    *Guarantee*: a unit is in or out with all of its records; it is in ⌊models / 2⌋ models.
    """
    ranks = np.random.default_rng([seed, 5]).random((models, units)).argsort(axis=0)
    return np.asarray(ranks < models // 2)


def train_shadows(
    workload: Workload,
    sites: Mapping[str, PublicSite],
    train: Train,
    included: NDArray[np.bool_],
    seed: int,
) -> Shadows:
    """Train one model for each row of a draw, and measure all units with it.

    Args:
        workload: the task.
        sites: public data by site; the columns of the draw are their training units, one site after the other.
        train: how.
        included: bool[models, units].
        seed: of all randomness.

    Raises:
        DataError: a site is left without units.
    """
    losses, population = [], []
    for number, row in enumerate(included):
        weights = train(halves(sites, row), UnsafeSeededRandom(100_000 * seed + number))
        losses.append(_measure(workload, weights, [site.data.train for site in sites.values()]))
        population.append(_measure(workload, weights, [site.data.test for site in sites.values()]))
    return Shadows(included, np.stack(losses), np.stack(population))


def num_units(sites: Mapping[str, PublicSite]) -> int:
    """Return how many training units all sites have together."""
    return sum(site.data.train.num_units for site in sites.values())


def halves(sites: Mapping[str, PublicSite], included: NDArray[np.bool_]) -> dict[str, PublicSite]:
    """Return the sites with some of their training units, and half of the declared size.

    Args:
        sites: by name.
        included: bool[units], one site's units after the other's.

    Raises:
        DataError: a site is left without units.
    """
    found, start = {}, 0
    for name, site in sites.items():
        own = included[start : start + site.data.train.num_units]
        start += len(own)
        if not own.any():
            raise DataError(f"membership: no training unit of {name} is left → use sites with more units")
        config = site.config.model_copy(update={"nominal_records": max(1, site.config.nominal_records // 2)})
        found[name] = PublicSite(config, UnitData(units_of(site.data.train, own), site.data.test))
    return found


def units_of(records: UnitRecords, chosen: NDArray[np.bool_]) -> UnitRecords:
    """Return the records of some units, numbered anew.

    Args:
        records: of all units.
        chosen: bool[units].
    """
    kept = chosen[records.unit]
    number = np.cumsum(chosen) - 1
    mask = torch.from_numpy(kept)
    return UnitRecords(records.features[mask], records.targets[mask], number[records.unit[kept]])


def _measure(workload: Workload, weights: Weights, parts: list[UnitRecords]) -> NDArray[np.float64]:
    """Return each unit's mean loss, float64[units], one part's units after the other's."""
    found = []
    for part in parts:
        with torch.no_grad():
            loss = workload.loss(outputs_at(workload, weights, part), part.targets).double().numpy()
        counts = np.bincount(part.unit, minlength=part.num_units)
        found.append(np.bincount(part.unit, weights=loss, minlength=part.num_units) / counts)
    return np.concatenate(found)
