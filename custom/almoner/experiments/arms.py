"""What a job is compared with: itself at any ε, and what it costs not to have privacy, or not to have the others.

Every model is measured on the test records of all sites together. A seed names the noise and the samples of a run; it
protects nobody, which is why the data must be public.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from almoner.experiments.baselines import unsafe_fit
from almoner.experiments.public import PublicSite, load_public_sites, pool, views_of
from almoner.experiments.simulate import TrainingPlan, Weights, federation_grid, unsafe_train_without_noise
from almoner.experiments.whole_job import combine_of, simulate_job
from almoner.privacy.plans import plan_of
from almoner.schema.aggregation import PlainAggregation
from almoner.schema.declarations import Declarations
from almoner.schema.job import DpSgdPrivacy, JobSpec
from almoner.training.noise import UnsafeSeededRandom
from almoner.workloads.base import Workload
from almoner.workloads.metrics import figures_at
from almoner.workloads.registry import workload

Arm = Literal["federated", "pooled", "federated_no_noise", "pooled_non_private", "alone_non_private"]

ARMS: dict[Arm, str] = {
    "federated": "federated (the job)",
    "pooled": "all data in one place, private",
    "federated_no_noise": "federated, without noise",
    "pooled_non_private": "all data in one place, not private",
    "alone_non_private": "each site alone, not private (mean)",
}
"""Arm -> what it is, in words."""

OF_THE_DATA: tuple[Arm, ...] = ("pooled_non_private", "alone_non_private")
"""The arms that owe nothing to the job but its model and its data."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training run to measure.

    Args:
        arm: what is trained.
        epsilon: of the whole run at one site (of the pool, where there is one); None where nothing is noised.
        seed: of noise and samples.
    """

    arm: Arm
    epsilon: float | None
    seed: int


@dataclass(frozen=True, slots=True)
class Seeds:
    """How many seeds there are, from 0 up.

    Args:
        job: of the job itself.
        baselines: of each thing that it is compared with.
    """

    job: int
    baselines: int


@dataclass(frozen=True)
class Laboratory:
    """A job and its sites' public data, on which all arms are run.

    Args:
        spec: the job; its ε is replaced by each run's.
        task: its workload.
        sites: public data by site name.
        pooled: the data of all sites together.
    """

    spec: JobSpec
    task: Workload
    sites: dict[str, PublicSite]
    pooled: PublicSite

    @staticmethod
    def load(spec: JobSpec, declarations: Declarations, cache: Path) -> "Laboratory":
        """Load a job's data; see `load_public_sites`."""
        return Laboratory.of(spec, load_public_sites(spec, declarations, cache))

    @staticmethod
    def of(spec: JobSpec, sites: dict[str, PublicSite]) -> "Laboratory":
        """Pool the data of a job's sites; it is kept once."""
        pooled = pool(sites)
        return Laboratory(spec, workload(spec.workload), views_of(pooled, sites), pooled)

    def runs(self, seeds: Seeds, federated: Sequence[float], pooled: Sequence[float]) -> list[Run]:
        """Return every run of a comparison: the job first, then what it is compared with.

        Args:
            seeds: how many of each.
            federated: the ε at which the job itself is run; without effect on a job that has none.
            pooled: the ε at which one curator of all data is; without effect on a job that has none.
        """
        arms: list[tuple[Arm, float | None, int]] = [("federated", epsilon, seeds.job) for epsilon in federated]
        arms += [("pooled", epsilon, seeds.baselines) for epsilon in pooled]
        if self.spec.target_epsilon is None:
            arms = [("federated", None, seeds.job)]
        else:
            arms.append(("federated_no_noise", None, seeds.baselines))
        arms += [("pooled_non_private", None, seeds.baselines), ("alone_non_private", None, seeds.baselines)]
        return [Run(arm, epsilon, seed) for arm, epsilon, count in arms for seed in range(count)]

    def calibrate(self, runs: Sequence[Run]) -> None:
        """Calibrate the noise of all runs once, so that processes which are forked after it find it done."""
        for run in runs:
            if run.arm == "federated":
                plan_of(self._at(run), len(self.sites))
            elif run.arm == "pooled":
                plan_of(_central(self._at(run)), 1)

    def measure(self, run: Run) -> dict[str, float]:
        """Carry out a run and return its figures on the test records of all sites, the main one first.

        Raises:
            DocumentError: the noise cannot be calibrated to this ε.
            PolicyViolation: the aggregation rule bears no such number of sites.
        """
        figures = [figures_at(self.task, weights, self.pooled.data.test) for weights in self._train(run)]
        return {name: statistics.fmean(figure[name] for figure in figures) for name in figures[0]}

    def _train(self, run: Run) -> list[Weights]:
        """Return the models of a run: one a site where each trains alone, else one."""
        task, sites, rng = self.task, self.sites, UnsafeSeededRandom(run.seed)
        match run.arm:
            case "federated":
                return [simulate_job(self._at(run), sites, rng=rng, seed=run.seed)]
            case "pooled":
                return [simulate_job(_central(self._at(run)), {"pooled": self.pooled}, rng=rng)]
            case "federated_no_noise":
                plan = replace(TrainingPlan.of(self.spec), mechanism="dp_sgd")
                grid = federation_grid(task, sites, plan, 0.0)
                combine = combine_of(self.spec, sites, grid.step, run.seed)
                return [unsafe_train_without_noise(task, sites, plan, rng=rng, combine=combine, grid=grid)]
            case "pooled_non_private":
                return [unsafe_fit(task, self.pooled, rng)]
            case "alone_non_private":
                return [unsafe_fit(task, site, rng) for site in sites.values()]

    def _at(self, run: Run) -> JobSpec:
        """Return the job with a run's ε."""
        if run.epsilon is None:
            return self.spec
        privacy = self.spec.privacy.model_copy(update={"target_epsilon": run.epsilon})
        return self.spec.model_copy(update={"privacy": privacy})


def _central(spec: JobSpec) -> JobSpec:
    """Return a job as one trusted curator of all data would run it: no noise is shared, and nobody lies."""
    privacy = DpSgdPrivacy(**(spec.privacy.model_dump() | {"mechanism": "dp_sgd"}))
    return spec.model_copy(update={"privacy": privacy, "aggregation": PlainAggregation(kind="plain")})
