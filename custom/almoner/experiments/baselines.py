"""What a federation is measured against: all data in one place, with and without privacy, and each site alone.

Baselines without privacy are trained as one trains without it: Adam on shuffled mini-batches, with a step size that
falls to 0. So a job's own hyper-parameters, which suit its noise, do not hold them back.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch

from almoner.experiments.public import PublicSite, pool
from almoner.experiments.simulate import TrainingPlan, Weights, simulate_federation
from almoner.training.flat import flatten
from almoner.training.noise import RandomSource
from almoner.training.units import UnitRecords
from almoner.workloads.base import Workload

BATCH_SIZE = 128
EPOCHS, MIN_STEPS = 5, 1000
"""Passes over the data; small data is passed over until there were so many steps."""
MAX_PASSES, PARAMETERS_A_RECORD = 10, 10
"""A model of more than so many parameters a record is passed over at most so often: it would learn them by heart."""
STEP_SIZE = 5e-3


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
    return unsafe_fit(workload, pool(sites), rng)


def unsafe_train_alone(workload: Workload, sites: Mapping[str, PublicSite], *, rng: RandomSource) -> dict[str, Weights]:
    """Train without privacy at each site by itself: what a site has without the federation."""
    return {name: unsafe_fit(workload, site, rng) for name, site in sites.items()}


def unsafe_fit(workload: Workload, site: PublicSite, rng: RandomSource) -> Weights:
    """Train without privacy on one site's records, by Adam on mini-batches; see the module."""
    records, model = site.data.train, workload.build_model()
    model.train()
    steps = num_steps(len(records.unit), workload.dimension)
    optimiser = torch.optim.Adam(model.parameters(), lr=STEP_SIZE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _, batch in zip(range(steps), _batches(records, rng), strict=False):
        optimiser.zero_grad()
        loss = workload.loss(model(records.features[batch]), records.targets[batch]).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return flatten(model)


def num_steps(num_records: int, dimension: int) -> int:
    """Return how many mini-batches a baseline without privacy is trained on."""
    one_pass = math.ceil(num_records / BATCH_SIZE)
    steps = max(MIN_STEPS, EPOCHS * one_pass)
    return min(steps, MAX_PASSES * one_pass) if dimension > PARAMETERS_A_RECORD * num_records else steps


def _batches(records: UnitRecords, rng: RandomSource) -> Iterator[torch.Tensor]:
    """Yield the records' indices in shuffled batches, pass after pass."""
    while True:
        order = torch.from_numpy(np.argsort(rng.uniform_integers(len(records.unit))))
        yield from torch.split(order, BATCH_SIZE)
