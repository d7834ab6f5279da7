"""What a way to train costs in bytes and rounds, and what it is worth: all variants of a job at one total ε.

Every figure of accuracy is measured on the pooled test records of data that is registered public, and every choice of
a learning rate on training units that are held out for it. Bytes are those of `traffic`.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import partial
from statistics import fmean

from almoner.experiments.parallel import Progress, run_all
from almoner.experiments.public import PublicSite, test_records
from almoner.experiments.shifts import with_shifted
from almoner.experiments.simulate import Combine, TrainingPlan, plain_sum, simulate_federation
from almoner.experiments.sparsify import LargestEntries, SharedRandomEntries, sent_entries
from almoner.experiments.splits import deal, held_out
from almoner.experiments.traffic import Traffic, site_traffic
from almoner.experiments.variants import JOBS_OWN, Variant
from almoner.privacy.plans import plan_of
from almoner.protection import plain
from almoner.schema.job import JobSpec
from almoner.training.noise import UnsafeSeededRandom
from almoner.workloads.base import Workload
from almoner.workloads.metrics import figures_at

SPLIT_SEED = 1
"""Of the data dealt anew, and of what is held out."""
HELD_OUT = 0.2
TRIAL_SEED = 1000

Sites = Mapping[str, PublicSite]


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Args:
        learning_rate: the best of those tried.
        accuracy, lowest, highest: mean and range over seeds of the workload's main figure.
        upload_bytes, download_bytes: of one site in the whole job.
    """

    variant: str
    split: str
    protection: str
    epsilon: float
    noise_multiplier: float
    rounds: int
    local_steps: int
    update_bits: int
    server_momentum: float
    learning_rate: float
    seeds: int
    accuracy: float
    lowest: float
    highest: float
    upload_bytes: int
    download_bytes: int


@dataclass(frozen=True)
class _Run:
    """One training run."""

    variant: Variant
    rate: float
    seed: int


def measure(
    spec: JobSpec,
    workload: Workload,
    sites: Sites,
    variants: Sequence[Variant],
    seeds: int,
    processes: int,
    progress: Progress,
) -> tuple[Line, ...]:
    """Train every variant with every seed, and return the table.

    Args:
        spec: the job that the variants are of; its total ε is that of each.
        workload: its task.
        sites: its public data.
        variants: what to compare.
        seeds: runs of each.
        processes: runs at a time.
        progress: is told after each run.

    Raises:
        PolicyViolation: a variant cannot be run.
        ProtocolError: the protection does not work with so many sites.
    """
    runs = list(dict.fromkeys(variant.run for variant in variants))
    sizes = {name: site.config.nominal_records for name, site in sites.items()}
    traffic = {variant: _traffic(variant.job(spec, 1.0), variant, sizes, workload) for variant in variants}
    for variant in runs:  # calibrated here, once, and not in every process
        plan_of(variant.job(spec, 1.0), len(sites))
    advance = _Counter(progress, sum(len(_tried(variant)) + seeds for variant in runs))
    outcomes: dict[Variant, tuple[float, list[float]]] = {}
    for alpha, copies in dict.fromkeys((variant.alpha, variant.copies) for variant in runs):
        dealt = sites if alpha is JOBS_OWN else deal(sites, alpha, SPLIT_SEED)
        own = [variant for variant in runs if (variant.alpha, variant.copies) == (alpha, copies)]
        rates = _best_rates(spec, workload, dealt, own, processes, advance)
        final = [_Run(variant, rates[variant], seed) for variant in own for seed in range(seeds)]
        scores = run_all(partial(_score, spec, workload, with_shifted(dealt, copies)), final, processes, advance)
        outcomes |= {v: (rates[v], [scores[run] for run in final if run.variant == v]) for v in own}
    return tuple(_line(spec, variant, len(sites), traffic[variant], *outcomes[variant.run]) for variant in variants)


def render_csv(lines: Sequence[Line]) -> str:
    """Return the table as CSV with a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([field.name for field in fields(Line)])
    writer.writerows(astuple(line) for line in lines)
    return out.getvalue()


class _Counter:
    """Makes one count of several parts."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._done, self._total = progress, 0, total

    def __call__(self, done: int, total: int) -> None:
        self._done += 1
        self._progress(self._done, self._total)


def _tried(variant: Variant) -> tuple[float, ...]:
    """Return the rates to try; none where there is no choice."""
    return variant.rates if len(variant.rates) > 1 else ()


def _best_rates(
    spec: JobSpec, workload: Workload, sites: Sites, variants: Sequence[Variant], processes: int, advance: Progress
) -> dict[Variant, float]:
    """Return the rate of each variant that does best on units that are held out, with a seed of its own.

    All variants have the same number of copies of a record.
    """
    trials = [_Run(variant, rate, TRIAL_SEED) for variant in variants for rate in _tried(variant)]
    best = {variant: variant.rates[0] for variant in variants}
    if not trials:
        return best
    left = with_shifted(held_out(sites, HELD_OUT, SPLIT_SEED), variants[0].copies)
    scores = run_all(partial(_score, spec, workload, left), trials, processes, advance)
    for trial in trials:
        if scores[trial] > scores.get(_Run(trial.variant, best[trial.variant], TRIAL_SEED), -math.inf):
            best[trial.variant] = trial.rate
    return best


def _score(spec: JobSpec, workload: Workload, sites: Sites, run: _Run) -> float:
    """Train once, and return the main figure on all sites' test records."""
    job = run.variant.job(spec, run.rate)
    weights = simulate_federation(
        workload,
        sites,
        TrainingPlan.of(job),
        noise_multiplier=plan_of(job, len(sites)).noise_multiplier,
        rng=UnsafeSeededRandom(run.seed),
        combine=_combine(run.variant, run.seed),
    )
    return next(iter(figures_at(workload, weights, test_records(sites)).values()))


def _combine(variant: Variant, seed: int) -> Combine:
    """Return what is made of a round's updates."""
    match variant.sent:
        case "largest":
            return LargestEntries(variant.share)
        case "shared":
            return SharedRandomEntries(variant.share, seed)
    return plain_sum


def _line(
    spec: JobSpec, variant: Variant, num_sites: int, traffic: Traffic, rate: float, scores: Sequence[float]
) -> Line:
    """Return a variant's line."""
    job = variant.job(spec, rate)
    return Line(
        variant=variant.name,
        split=variant.split,
        protection=variant.protection,
        epsilon=spec.target_epsilon or math.inf,
        noise_multiplier=plan_of(job, num_sites).noise_multiplier,
        rounds=job.rounds,
        local_steps=job.training.local_steps,
        update_bits=job.training.update_bits,
        server_momentum=job.training.server_momentum,
        learning_rate=job.training.learning_rate,
        seeds=len(scores),
        accuracy=fmean(scores),
        lowest=min(scores),
        highest=max(scores),
        upload_bytes=traffic.upload(job.rounds),
        download_bytes=traffic.download(job.rounds),
    )


def _traffic(job: JobSpec, variant: Variant, sizes: dict[str, int], workload: Workload) -> Traffic:
    """Return the bytes of a variant; entries that a site chose for itself travel with an index of four bytes."""
    limit = 0 if job.privacy.mechanism == "distributed_dp" else job.training.update_limit
    sent = sent_entries(variant.share, workload.dimension)
    if variant.sent == "largest":
        summed = min(2 * len(sizes) * sent, workload.dimension)
        return Traffic(0, 0, plain.message_bytes(2 * sent), plain.message_bytes(summed))
    return site_traffic(job, sizes, sent, limit)
