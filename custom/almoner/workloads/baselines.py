"""Federations in one process, and what they are measured against; on registered public data only.

Nothing here is charged to a ledger. So nothing here takes data that its site's configuration does not
declare `public: true`: the type `PublicSite` cannot be made of any other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from almoner.errors import DataError, PolicyViolation
from almoner.schema.site import DatasetConfig
from almoner.training.dp_sgd import (
    DEFAULT_MICRO_BATCH_SIZE,
    DpSgdTrainer,
    RoundParameters,
    RoundTrainer,
    UnsafeNoiselessTrainer,
)
from almoner.training.flat import flatten
from almoner.training.grid import DEFAULT_LIMIT, UpdateGrid, apply_update, update_grid
from almoner.training.noise import RandomSource
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.base import Workload

Weights = NDArray[np.float64]
Combine = Callable[[Weights, NDArray[np.int64]], NDArray[np.int64]]
"""What the server makes of a round: (weights at its start, updates int64[n, d] in the sites' order) -> what
`apply_update` takes as their sum, int64[d]."""


def verify_public(config: DatasetConfig) -> None:
    """Refuse data that may not be used outside the ledger.

    Raises:
        PolicyViolation: when the configuration does not say `public: true`.
    """
    if config.public is not True:
        raise PolicyViolation(
            f"data set of {config.population}: not registered public → baselines and attacks run on public data only"
        )


@dataclass(frozen=True, slots=True, eq=False)
class PublicSite:
    """A site's data that is registered public, so that it may be used outside the ledger.

    Raises:
        PolicyViolation: when the configuration does not say `public: true`.
    """

    config: DatasetConfig
    data: UnitData

    def __post_init__(self) -> None:
        verify_public(self.config)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """The public numbers of one training run, named as in a JobSpec."""

    rounds: int
    local_steps: int
    learning_rate: float
    max_grad_norm: float
    sampling_prob: float


UNSAFE_NON_PRIVATE_PLAN = TrainingPlan(
    rounds=200, local_steps=1, learning_rate=1.0, max_grad_norm=64.0, sampling_prob=1.0
)
"""Full-batch gradient descent with so loose a clipping bound that features of ordinary scale never meet it."""


def plain_sum(weights: Weights, updates: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add all sites' updates, as a job without robust aggregation does."""
    total: NDArray[np.int64] = updates.sum(axis=0)
    return total


def simulate_federation(
    workload: Workload,
    sites: Mapping[str, PublicSite],
    plan: TrainingPlan,
    *,
    noise_multiplier: float,
    rng: RandomSource,
    combine: Combine = plain_sum,
    micro_batch_size: int = DEFAULT_MICRO_BATCH_SIZE,
) -> Weights:
    """Train over all sites in this process, with the trainer and the aggregation step of a real job.

    Guarantee: each site's share is that of `plan.rounds` calls of `DpSgdTrainer.run_round`, and the weights
    are post-processing of all sites' shares. No ledger is charged for it, hence public data only.

    Args:
        workload: the task.
        sites: public data by site name.
        plan: the run's public numbers.
        noise_multiplier: σ over the sensitivity, > 0.
        rng: randomness of all sites.
        combine: what is made of a round's updates.
        micro_batch_size: records in one pass; changes speed only.

    Returns:
        The final weights, float64[d].

    Raises:
        PolicyViolation: when the noise is not positive or does not fit the grid.
        DataError: when there are no sites.
    """
    grid = federation_grid(workload, sites, plan, noise_multiplier)

    def trainer(site: PublicSite, parameters: RoundParameters) -> RoundTrainer:
        model, parameters = workload.build_model(), {**parameters, "micro_batch_size": micro_batch_size}
        return DpSgdTrainer(model, workload.loss, site.data.train, noise_multiplier=noise_multiplier, **parameters)

    return _train(workload, sites, plan, grid, rng, trainer, combine)


def unsafe_train_without_noise(
    workload: Workload, sites: Mapping[str, PublicSite], plan: TrainingPlan, *, rng: RandomSource
) -> Weights:
    """Train as `simulate_federation` does, without noise: the non-private anchor.

    The grid is so fine (2^40 steps) that it does not show.

    Raises:
        DataError: when there are no sites.
    """
    grid = federation_grid(workload, sites, plan, 0.0, limit=2**40)

    def trainer(site: PublicSite, parameters: RoundParameters) -> RoundTrainer:
        return UnsafeNoiselessTrainer(workload.build_model(), workload.loss, site.data.train, **parameters)

    return _train(workload, sites, plan, grid, rng, trainer)


def train_pooled(
    workload: Workload,
    sites: Mapping[str, PublicSite],
    plan: TrainingPlan,
    *,
    noise_multiplier: float,
    rng: RandomSource,
) -> Weights:
    """Train with DP on all data in one place: what one trusted curator could reach.

    Raises:
        PolicyViolation: when the noise is not positive or does not fit the grid.
        DataError: when there are no sites.
    """
    pooled = {"pooled": pool(sites)}
    return simulate_federation(workload, pooled, plan, noise_multiplier=noise_multiplier, rng=rng)


def unsafe_train_pooled(workload: Workload, sites: Mapping[str, PublicSite], *, rng: RandomSource) -> Weights:
    """Train without privacy on all data in one place: the upper anchor."""
    return unsafe_train_without_noise(workload, {"pooled": pool(sites)}, UNSAFE_NON_PRIVATE_PLAN, rng=rng)


def unsafe_train_alone(workload: Workload, sites: Mapping[str, PublicSite], *, rng: RandomSource) -> dict[str, Weights]:
    """Train without privacy at each site by itself: what a site has without the federation."""
    return {
        name: unsafe_train_without_noise(workload, {name: site}, UNSAFE_NON_PRIVATE_PLAN, rng=rng)
        for name, site in sites.items()
    }


def pool(sites: Mapping[str, PublicSite]) -> PublicSite:
    """Put the data of all sites together; units of different sites stay different units.

    Raises:
        DataError: when there are no sites.
    """
    _check_not_empty(sites)
    parts = tuple(sites.values())
    nominal_records = sum(part.config.nominal_records for part in parts)
    config = parts[0].config.model_copy(update={"population": "pooled", "nominal_records": nominal_records})
    data = UnitData(
        train=_concatenate([part.data.train for part in parts]), test=_concatenate([part.data.test for part in parts])
    )
    return PublicSite(config, data)


def _train(
    workload: Workload,
    sites: Mapping[str, PublicSite],
    plan: TrainingPlan,
    grid: UpdateGrid,
    rng: RandomSource,
    make_trainer: Callable[[PublicSite, RoundParameters], RoundTrainer],
    combine: Combine = plain_sum,
) -> Weights:
    """Run all rounds: each site's update, what is made of them, one step."""
    trainers = [make_trainer(site, round_parameters(site.config, plan, grid, rng)) for site in sites.values()]
    total_nominal = sum(site.config.nominal_records for site in sites.values())
    weights = flatten(workload.build_model())
    for _ in range(plan.rounds):
        total = combine(weights, np.stack([trainer.run_round(weights) for trainer in trainers]))
        weights = apply_update(weights, total, grid, plan.learning_rate, plan.sampling_prob, total_nominal)
    return weights


def round_parameters(config: DatasetConfig, plan: TrainingPlan, grid: UpdateGrid, rng: RandomSource) -> RoundParameters:
    """Return what a trainer at one site takes."""
    return RoundParameters(
        max_grad_norm=plan.max_grad_norm,
        sampling_prob=plan.sampling_prob,
        local_steps=plan.local_steps,
        learning_rate=plan.learning_rate,
        nominal_records=config.nominal_records,
        grid=grid,
        rng=rng,
    )


def federation_grid(
    workload: Workload,
    sites: Mapping[str, PublicSite],
    plan: TrainingPlan,
    noise_multiplier: float,
    limit: int = DEFAULT_LIMIT,
) -> UpdateGrid:
    """Choose the run's grid as admission does, from the largest declared size.

    Raises:
        PolicyViolation: when the updates fit no grid.
        DataError: when there are no sites.
    """
    _check_not_empty(sites)
    largest = max(site.config.nominal_records for site in sites.values())
    return update_grid(
        plan.max_grad_norm, plan.sampling_prob, noise_multiplier, largest, plan.local_steps, workload.dimension, limit
    )


def _check_not_empty(sites: Mapping[str, PublicSite]) -> None:
    if not sites:
        raise DataError("federation: no sites → give at least one")


def _concatenate(parts: list[UnitRecords]) -> UnitRecords:
    """Append records, numbering the units on."""
    offsets = np.cumsum([0, *(part.num_units for part in parts)])
    return UnitRecords(
        torch.cat([part.features for part in parts]),
        torch.cat([part.targets for part in parts]),
        np.concatenate([part.unit + offset for part, offset in zip(parts, offsets[:-1], strict=True)]),
    )
