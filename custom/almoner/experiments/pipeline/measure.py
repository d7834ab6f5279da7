"""Runs a job layer by layer, all layers on the same sites and the same seeds, and says what each layer takes.

For each seed three models are trained: without privacy, with DP, and with DP and robust groups. The updates of the
second go, round by round, through plain sums, encryption and secret sharing, each run by all its sites and its server
as in a federation, and every site of each must open the same sum: so accuracy is the same for the three, and time and
bytes are compared on the same values. There is no network in any figure.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from almoner.errors import ProtocolError
from almoner.experiments.parallel import Progress
from almoner.experiments.pipeline.commitments import CommitmentMeter, RoundShare
from almoner.experiments.pipeline.driven import Costs, DrivenJob
from almoner.experiments.pipeline.layers import LAYERS, LayerName, Variants, variants_of
from almoner.experiments.pipeline.protected import drive, terms_of
from almoner.experiments.pipeline.trial_consortium import TrialConsortium
from almoner.experiments.public import PublicSite, test_records
from almoner.experiments.simulate import TrainingPlan, Weights, federation_grid, simulate_federation
from almoner.privacy.plans import plan_of
from almoner.schema.job import JobSpec
from almoner.training.noise import UnsafeSeededRandom
from almoner.workloads.base import Workload
from almoner.workloads.metrics import figures_at

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Spent:
    """Processor seconds and bytes, of one site and of the server, in a round or in the set-up.

    Args:
        site_seconds: mean of the sites; of the protection alone.
        sent_bytes, received_bytes: mean of the sites.
    """

    site_seconds: float
    server_seconds: float
    sent_bytes: float
    received_bytes: float

    @staticmethod
    def of(costs: Costs, num_sites: int) -> "Spent":
        """Return the mean of the sites."""
        site_seconds = sum(sum(calls) for calls in costs.sites.values()) / num_sites
        sent, received = (counted.total() / num_sites for counted in (costs.sent, costs.received))
        return Spent(site_seconds, sum(costs.server), sent, received)

    def without(self, share: RoundShare) -> "Spent":
        """Return what is left without a share; no time is below zero, as clocks are coarse."""
        return Spent(
            max(0.0, self.site_seconds - share.site_seconds),
            max(0.0, self.server_seconds - share.server_seconds),
            self.sent_bytes - share.sent_bytes,
            self.received_bytes - share.received_bytes,
        )


@dataclass
class Tally:
    """All that was measured of one layer.

    Args:
        training: processor seconds of one site's training in each round, mean of the sites.
        rounds: each round's protection.
        set_ups: each run's set-up.
        figures: of quality, by name, one a seed.
    """

    training: list[float] = field(default_factory=list)
    rounds: list[Spent] = field(default_factory=list)
    set_ups: list[Spent] = field(default_factory=list)
    figures: list[Mapping[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class _Lane:
    """One protection that a model's updates go through."""

    layer: LayerName
    job: DrivenJob
    meter: CommitmentMeter | None


def measure(
    spec: JobSpec, task: Workload, sites: Mapping[str, PublicSite], seeds: int, progress: Progress
) -> dict[LayerName, Tally]:
    """Run every layer with every seed, in this process.

    Args:
        spec: the job.
        task: its workload.
        sites: its public data, at nine sites at least.
        seeds: how many, from 0 up.
        progress: is told after each training run.

    Raises:
        PolicyViolation: the job trains without privacy, or has groups that its sites do not make.
        ProtocolError: a protection does not work with so many sites.
    """
    bench, done = _Bench(spec, task, sites), 0
    variants = bench.variants
    runs: tuple[tuple[JobSpec, tuple[tuple[LayerName, JobSpec], ...]], ...] = (
        (variants.plain, (("plain", variants.plain),)),
        (variants.dp, (("dp", variants.dp), ("he", variants.he), ("commitments", variants.secagg))),
        (variants.groups, (("groups", variants.groups),)),
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed in range(seeds):
            for trained, lanes in runs:
                bench.run(trained, lanes, seed)
                progress(done := done + 1, seeds * len(runs))
    finally:
        torch.set_num_threads(threads)
    return {layer.name: bench.tallies[layer.name] for layer in LAYERS}


class _Bench:
    """What all runs share, and what they found."""

    def __init__(self, spec: JobSpec, task: Workload, sites: Mapping[str, PublicSite]) -> None:
        self.variants: Variants = variants_of(spec, len(sites))
        self.tallies: dict[LayerName, Tally] = {layer.name: Tally() for layer in LAYERS}
        self._task, self._sites, self._test = task, sites, test_records(sites)
        self._sizes = {name: site.config.nominal_records for name, site in sites.items()}
        self._consortium = TrialConsortium.of(self._sizes, spec.dataset)

    def run(self, trained: JobSpec, lanes: Sequence[tuple[LayerName, JobSpec]], seed: int) -> None:
        """Train one model with one seed; send its updates through every lane."""
        task, sites, plan = self._task, self._sites, TrainingPlan.of(trained)
        noise = plan_of(trained, len(sites)).noise_multiplier
        started = [self._start(name, spec, plan, noise) for name, spec in lanes]
        training: list[float] = []
        mark = time.process_time()

        def combine(weights: Weights, sent: Integers) -> Integers:
            training.append((time.process_time() - mark) / len(sites))
            return self._sum(started, dict(zip(sites, sent, strict=True)))

        def after_round(number: int, weights: Weights) -> None:
            nonlocal mark
            mark = time.process_time()

        weights = simulate_federation(
            task,
            sites,
            plan,
            noise_multiplier=noise,
            rng=UnsafeSeededRandom(seed),
            combine=combine,
            on_round=after_round,
        )
        figures = figures_at(task, weights, self._test)
        names = [lane.layer for lane in started]
        if "commitments" in names:
            names.append("secagg")
        for name in names:
            self.tallies[name].training += training
            self.tallies[name].figures.append(figures)

    def _start(self, name: LayerName, spec: JobSpec, plan: TrainingPlan, noise: float) -> _Lane:
        """Have the sites of one lane agree on keys."""
        dimension, clear = self._task.dimension, spec.aggregation.kind == "plain"
        grid = federation_grid(self._task, self._sites, plan, noise)
        terms = None if clear else terms_of(spec, self._sizes, dimension, grid)
        meter = CommitmentMeter(terms, self._consortium) if terms is not None and name == "commitments" else None
        listener = meter.listen if meter is not None else lambda question, answers: None
        job = drive(spec, terms, self._consortium, dimension, listener)
        self.tallies[name].set_ups.append(spent := Spent.of(job.set_up_costs, len(self._sites)))
        if meter is not None:
            self.tallies["secagg"].set_ups.append(spent)
        return _Lane(name, job, meter)

    def _sum(self, lanes: Sequence[_Lane], values: Mapping[str, Integers]) -> Integers:
        """Return what the sites of every lane open as a round's sum."""
        found: Integers | None = None
        for lane in lanes:
            opened, total, costs = lane.job.round(values)
            if found is not None and not np.array_equal(found, opened):
                raise ProtocolError(f"{lane.layer}: another sum than in clear: report this")
            found = opened
            spent = Spent.of(costs, len(values))
            self.tallies[lane.layer].rounds.append(spent)
            if lane.meter is not None:
                share = lane.meter.end_round(total, values[total.contributors[0]], opened)
                self.tallies["secagg"].rounds.append(spent.without(share))
        if found is None:
            raise ProtocolError("a round without a protection: report this")
        return found
