"""How much of a site's update is signal: its entries beside the noise on them, and which of the largest are right."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from almoner.experiments.public import PublicSite
from almoner.experiments.simulate import TrainingPlan, Weights, noiseless_grid, round_parameters, simulate_federation
from almoner.experiments.sparsify import largest_are_right
from almoner.privacy.plans import plan_of
from almoner.schema.job import JobSpec
from almoner.training.dp_sgd import UnsafeNoiselessTrainer
from almoner.training.flat import flatten
from almoner.training.noise import UnsafeSeededRandom
from almoner.workloads.base import Workload

SHARE = 0.1
"""Of the entries that count as largest."""


@dataclass(frozen=True)
class Signal:
    """One round, as a mean over the sites.

    Args:
        number: of the round.
        ratio: root mean square of an update's entries without noise, over the noise's standard deviation.
        right: which part of the truly largest tenth is among the largest tenth of the noised update.
    """

    number: int
    ratio: float
    right: float


def measure_signal(spec: JobSpec, workload: Workload, sites: Mapping[str, PublicSite], seed: int) -> tuple[Signal, ...]:
    """Measure the first and the last round of a job with local noise; on public data, since the noise is looked under.

    Raises:
        DocumentError: the noise cannot be calibrated.
    """
    noise, plan = plan_of(spec, len(sites)).noise_multiplier, TrainingPlan.of(spec)
    before = [flatten(workload.build_model())]
    rng = UnsafeSeededRandom(seed)
    simulate_federation(
        workload, sites, plan, noise_multiplier=noise, rng=rng, on_round=lambda number, weights: before.append(weights)
    )
    deviation = noise * spec.privacy.max_grad_norm * plan.local_steps**0.5
    found = []
    for number in sorted({1, spec.rounds}):
        updates = _clean_updates(workload, sites, plan, before[number - 1], rng)
        draws = np.random.default_rng(seed).normal(0.0, deviation, (len(updates), workload.dimension))
        ratio = fmean(float(np.sqrt(np.mean(update**2))) / deviation for update in updates)
        right = fmean(largest_are_right(*pair, SHARE) for pair in zip(updates, draws, strict=True))
        found.append(Signal(number, ratio, right))
    return tuple(found)


def _clean_updates(
    workload: Workload, sites: Mapping[str, PublicSite], plan: TrainingPlan, weights: Weights, rng: UnsafeSeededRandom
) -> list[NDArray[np.float64]]:
    """Return each site's update of one round without noise, in units of the gradient sum."""
    grid, found = noiseless_grid(sites, plan), list[NDArray[np.float64]]()
    for site in sites.values():
        parameters = round_parameters(site.config, plan, grid, rng)
        trainer = UnsafeNoiselessTrainer(workload.build_model(), workload.loss, site.data.train, **parameters)
        found.append(np.multiply(trainer.run_round(weights), grid.step, dtype=np.float64))
    return found
