"""Federations in one process: every site's rounds one after the other, and the step that all of them take.

Trainers, grids, aggregation and steps are those of a real job. Without noise and samples (mechanism `none`, sampling
probability 1) the weights are those of a real job too, to the last bit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from almoner.experiments.public import PublicSite, verify_not_empty
from almoner.privacy.distributed_training import shares_that_count
from almoner.schema.job import JobSpec, Mechanism
from almoner.schema.site import DatasetConfig
from almoner.training.descent import Descent
from almoner.training.dp_sgd import UnsafeNoiselessTrainer
from almoner.training.flat import flatten
from almoner.training.grid import UpdateGrid, shared_grid, update_grid
from almoner.training.noise import RandomSource
from almoner.training.round import RoundParameters, RoundTrainer
from almoner.training.trainers import make_trainer
from almoner.workloads.base import Workload

Weights = NDArray[np.float64]
Combine = Callable[[Weights, NDArray[np.int64]], NDArray[np.int64]]
"""What the server makes of a round: (weights at its start, updates int64[n, d] in the sites' order) -> what
`Descent.apply` takes as their sum, int64[d]."""
OnRound = Callable[[int, Weights], None]
"""Is told each round's number, from 1, and the weights after it."""

_FINE_LIMIT = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """The public numbers of one training run, named as in a JobSpec."""

    rounds: int
    local_steps: int
    learning_rate: float
    max_grad_norm: float
    sampling_prob: float
    server_momentum: float = 0.0
    proximal: float = 0.0
    update_bits: int = 16
    mechanism: Mechanism = "dp_sgd"
    num_colluding_sites: int = 0

    @staticmethod
    def of(spec: JobSpec) -> "TrainingPlan":
        """Return a job's own numbers."""
        return TrainingPlan(
            rounds=spec.rounds,
            local_steps=spec.training.local_steps,
            learning_rate=spec.training.learning_rate,
            max_grad_norm=spec.privacy.max_grad_norm,
            sampling_prob=spec.privacy.sampling_prob,
            server_momentum=spec.training.server_momentum,
            proximal=spec.training.proximal,
            update_bits=spec.training.update_bits,
            mechanism=spec.privacy.mechanism,
            num_colluding_sites=spec.num_colluding_sites,
        )

    def num_shares(self, num_sites: int) -> int:
        """Return how many sites' shares of noise must be enough; 0 where a site's noise is enough by itself.

        Raises:
            PolicyViolation: there are too few sites for those that may collude.
        """
        return shares_that_count(num_sites, self.num_colluding_sites) if self.mechanism == "distributed_dp" else 0


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
    micro_batch_size: int | None = None,
    on_round: OnRound | None = None,
) -> Weights:
    """Train over all sites in this process, with the trainer and the steps of a real job; all sites take part always.

    Guarantee: each site's share is that of `plan.rounds` calls of `make_trainer(...).run_round`, and the weights
    are post-processing of all sites' shares. No ledger is charged for it, hence public data only.

    Args:
        workload: the task.
        sites: public data by site name.
        plan: the run's public numbers.
        noise_multiplier: σ over the sensitivity, > 0; not used by mechanism `none`.
        rng: randomness of all sites.
        combine: what is made of a round's updates.
        micro_batch_size: records in one pass, the trainer's own if None; changes speed only, and last bits.
        on_round: is told after each round.

    Returns:
        The final weights, float64[d].

    Raises:
        PolicyViolation: when the noise is not positive or does not fit the grid.
        DataError: when there are no sites.
    """
    grid, shares = federation_grid(workload, sites, plan, noise_multiplier), plan.num_shares(len(sites))

    def trainer(site: PublicSite, parameters: RoundParameters) -> RoundTrainer:
        if micro_batch_size is not None:
            parameters = {**parameters, "micro_batch_size": micro_batch_size}
        return make_trainer(
            workload.build_model(),
            workload.loss,
            site.data.train,
            mechanism=plan.mechanism,
            noise_multiplier=noise_multiplier,
            num_shares=shares,
            **parameters,
        )

    return _train(workload, sites, plan, grid, rng, trainer, combine, on_round)


def unsafe_train_without_noise(
    workload: Workload,
    sites: Mapping[str, PublicSite],
    plan: TrainingPlan,
    *,
    rng: RandomSource,
    combine: Combine = plain_sum,
    grid: UpdateGrid | None = None,
) -> Weights:
    """Train as `simulate_federation` does with DP-SGD, each unit clipped but nothing noised: what noise alone costs.

    Args:
        grid: of the updates; one so fine that it does not show if None.

    Raises:
        DataError: when there are no sites.
    """
    grid = noiseless_grid(sites, plan) if grid is None else grid

    def trainer(site: PublicSite, parameters: RoundParameters) -> RoundTrainer:
        return UnsafeNoiselessTrainer(workload.build_model(), workload.loss, site.data.train, **parameters)

    return _train(workload, sites, plan, grid, rng, trainer, combine)


def _train(
    workload: Workload,
    sites: Mapping[str, PublicSite],
    plan: TrainingPlan,
    grid: UpdateGrid,
    rng: RandomSource,
    trainer_of: Callable[[PublicSite, RoundParameters], RoundTrainer],
    combine: Combine,
    on_round: OnRound | None = None,
) -> Weights:
    """Run all rounds: each site's update, what is made of them, one step."""
    trainers = [trainer_of(site, round_parameters(site.config, plan, grid, rng)) for site in sites.values()]
    total_nominal = sum(site.config.nominal_records for site in sites.values())
    descent = Descent(
        flatten(workload.build_model()), grid, plan.learning_rate, plan.sampling_prob, plan.server_momentum
    )
    for number in range(1, plan.rounds + 1):
        updates = np.stack([trainer.run_round(descent.weights) for trainer in trainers])
        descent.apply(combine(descent.weights, updates), total_nominal)
        if on_round is not None:
            on_round(number, descent.weights)
    return descent.weights


def round_parameters(config: DatasetConfig, plan: TrainingPlan, grid: UpdateGrid, rng: RandomSource) -> RoundParameters:
    """Return what a trainer at one site takes."""
    return RoundParameters(
        max_grad_norm=plan.max_grad_norm,
        sampling_prob=plan.sampling_prob,
        local_steps=plan.local_steps,
        learning_rate=plan.learning_rate,
        proximal=plan.proximal,
        nominal_records=config.nominal_records,
        max_records_per_unit=config.max_records_per_unit or 1,
        grid=grid,
        rng=rng,
    )


def federation_grid(
    workload: Workload, sites: Mapping[str, PublicSite], plan: TrainingPlan, noise_multiplier: float
) -> UpdateGrid:
    """Choose the run's grid as admission does, from the declared sizes.

    Raises:
        PolicyViolation: there are too few sites for those that may collude.
        DataError: when there are no sites.
    """
    verify_not_empty(sites)
    if plan.mechanism == "distributed_dp":
        shares = plan.num_shares(len(sites))
        return shared_grid(plan.max_grad_norm, noise_multiplier, shares, workload.dimension)
    return _grid(sites, plan, noise_multiplier, (1 << (plan.update_bits - 1)) - 1)


def noiseless_grid(sites: Mapping[str, PublicSite], plan: TrainingPlan) -> UpdateGrid:
    """Choose a grid that does not show, for runs that are compared with no job's bits.

    Raises:
        DataError: when there are no sites.
    """
    verify_not_empty(sites)
    return _grid(sites, plan, 0.0, _FINE_LIMIT)


def _grid(sites: Mapping[str, PublicSite], plan: TrainingPlan, noise_multiplier: float, limit: int) -> UpdateGrid:
    largest = max(site.config.nominal_records for site in sites.values())
    return update_grid(plan.max_grad_norm, plan.sampling_prob, noise_multiplier, largest, plan.local_steps, limit)
