"""Chooses each method's hyper-parameters on held-out training units, then measures all methods on test records."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from almoner.experiments.parallel import Progress, run_all
from almoner.experiments.personalise.candidates import Candidate, candidates, in_order
from almoner.experiments.personalise.study import Study, Trial
from almoner.training.personalise.shared import GlobalModel

FIRST_SPLIT = 1_000
"""Splits are numbered from here, so that no final run draws as one of those that chose."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What was measured.

    Args:
        study: of what.
        chosen: the candidate of each method by its name, in the order of `METHODS`; the global model is among them.
        seeds: of the final runs.
        figures: the main figure of every final run, by (method, seed, site).
    """

    study: Study
    chosen: Mapping[str, Candidate]
    seeds: tuple[int, ...]
    figures: Mapping[tuple[str, int, str], float]

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites' names."""
        return tuple(self.study.sites)

    def points(self, method: str) -> NDArray[np.float64]:
        """Return a method's figures times 100, float64[seeds, sites + 1]; the last column is over all test records."""
        found = np.array([[100 * self.figures[method, seed, site] for site in self.sites] for seed in self.seeds])
        return np.column_stack([found, _mean(found, list(self.study.test_records.values()))])

    def gains(self, method: str) -> NDArray[np.float64]:
        """Return how many points a method is above the global model of the same seed, float64[seeds, sites + 1]."""
        return self.points(method) - self.points(GlobalModel.name)


def try_candidates(
    study: Study,
    methods: Iterable[str],
    rates: Sequence[float],
    splits: int,
    processes: int,
    progress: Progress,
) -> dict[Candidate, float]:
    """Return what each candidate is worth on held-out training units: the mean of its figure over splits and sites.

    *Guarantee*: no test record is looked at. Sites count by their declared size.

    Args:
        study: of what.
        methods: by name, see `in_order`.
        rates: learning rates, as multiples of the job's.
        splits: how many ways to hold units out.
        processes: how many runs at a time.
        progress: is told after each run.

    Raises:
        PolicyViolation: a method is unknown.
    """
    tried = [candidate for name in in_order(methods) for candidate in candidates(name, study.plan, rates)]
    for candidate in tried:
        study.plan_of(candidate)  # calibrated here once, and known to every process that is forked
    seeds = range(FIRST_SPLIT, FIRST_SPLIT + splits)
    runs = [Trial(candidate, seed, is_final=False) for candidate in tried for seed in seeds]
    found = run_all(study.run, runs, processes, progress)
    sizes = [site.config.nominal_records for site in study.sites.values()]
    figures = np.array([[found[run][site] for site in study.sites] for run in runs])
    scores = _mean(figures, sizes).reshape(len(tried), splits).mean(axis=1)
    return dict(zip(tried, scores.tolist(), strict=True))


def best_of(scores: Mapping[Candidate, float]) -> dict[str, Candidate]:
    """Return the best candidate of each method, by its name; of equals the first."""
    best: dict[str, Candidate] = {}
    for candidate, score in scores.items():
        name = candidate.method.name
        if name not in best or score > scores[best[name]]:
            best[name] = candidate
    return best


def measure(
    study: Study, chosen: Mapping[str, Candidate], seeds: int, processes: int, progress: Progress
) -> Comparison:
    """Train each method's candidate on all training records, once a seed, and judge it on test records.

    Args:
        study: of what.
        chosen: a candidate of each method, by its name; the global model is among them.
        seeds: how many.
        processes: how many runs at a time.
        progress: is told after each run.
    """
    trials = {
        (name, seed): Trial(candidate, seed, is_final=True)
        for name, candidate in chosen.items()
        for seed in range(seeds)
    }
    found = run_all(study.run, list(trials.values()), processes, progress)
    figures = {(*key, site): figure for key, trial in trials.items() for site, figure in found[trial].items()}
    return Comparison(study, chosen, tuple(range(seeds)), figures)


def _mean(figures: NDArray[np.float64], sizes: Sequence[int]) -> NDArray[np.float64]:
    """Return each row's mean over sites by size; a site without a figure counts nothing."""
    counted = np.where(np.isnan(figures), 0.0, np.array(sizes, dtype=np.float64))
    mean: NDArray[np.float64] = (np.nan_to_num(figures) * counted).sum(axis=1) / counted.sum(axis=1)
    return mean
