"""A whole job in one process: its own noise, trainer, aggregation rule and steps."""

from collections.abc import Mapping
from itertools import count

import numpy as np
from numpy.typing import NDArray

from almoner.experiments.defences import RoundTerms, clip_norm_of, defence_of
from almoner.experiments.public import PublicSite
from almoner.experiments.simulate import (
    Combine,
    OnRound,
    TrainingPlan,
    Weights,
    federation_grid,
    simulate_federation,
)
from almoner.privacy.plans import plan_of
from almoner.schema.job import JobSpec
from almoner.training.noise import RandomSource
from almoner.workloads.registry import workload


def simulate_job(
    spec: JobSpec,
    sites: Mapping[str, PublicSite],
    *,
    rng: RandomSource,
    seed: int = 0,
    on_round: OnRound | None = None,
) -> Weights:
    """Train a job over all of its sites in this process.

    *Guarantee*: noise, trainers, grid, aggregation rule and steps are those of the job. Equal arguments give equal
    weights. For mechanism `none` with sampling probability 1 and a sum as aggregation they are those that the sites of
    a real federation agree on, to the last bit.

    Args:
        spec: the job.
        sites: public data of its sites, all of which take part in every round.
        rng: randomness of all sites.
        seed: of the draw of groups and the permutations of buckets, where the rule has them.
        on_round: is told after each round.

    Returns:
        The final weights, float64[d].

    Raises:
        DocumentError: the noise cannot be calibrated to the job's ε.
        PolicyViolation: the rule bears no such number of sites.
        DataError: there are no sites.
    """
    task, plan, noise = workload(spec.workload), TrainingPlan.of(spec), plan_of(spec, len(sites)).noise_multiplier
    step = federation_grid(task, sites, plan, noise).step
    return simulate_federation(
        task,
        sites,
        plan,
        noise_multiplier=noise,
        rng=rng,
        combine=combine_of(spec, sites, step, seed),
        on_round=on_round,
    )


def combine_of(spec: JobSpec, sites: Mapping[str, PublicSite], step: float, seed: int) -> Combine:
    """Return what a job's server, or its sites, make of a round's updates.

    Args:
        spec: the job.
        sites: those that take part.
        step: distance of two points of its grid.
        seed: of draws and permutations.

    Raises:
        PolicyViolation: the rule bears no such number of sites.
    """
    defence, numbers = defence_of(spec), count(1)
    defence.verify_condition(len(sites), spec.num_byzantine_sites)
    terms = RoundTerms(
        sizes=np.array([site.config.nominal_records for site in sites.values()], dtype=np.float64),
        num_byzantine=spec.num_byzantine_sites,
        step=step,
        sampling_prob=spec.privacy.sampling_prob,
        l2_clip_norm=clip_norm_of(spec),
        seed=seed,
    )

    def combine(weights: Weights, sent: NDArray[np.int64]) -> NDArray[np.int64]:
        return defence.combine(terms, next(numbers), sent)

    return combine
