"""Quality against ε: what a comparison's runs amount to, as points with their spread over seeds.

A point is the mean over its seeds; its band goes from the lowest to the highest of them, which for a handful of seeds
says more than a standard deviation, though that is given too.
"""

import csv
import io
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields

from almoner.experiments.arms import Arm, Run

DEFAULT_EPSILONS = (0.5, 1.0, 2.0, 4.0, 8.0)

Results = Mapping[Run, Mapping[str, float]]
"""Figures of each run, the main one first."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One figure of one arm at one ε, over all seeds.

    Args:
        arm: what was trained.
        epsilon: None where nothing was noised.
        figure: its name, such as "accuracy".
        seeds: how many.
        mean: over the seeds.
        stdev: sample standard deviation over the seeds; 0 for one seed.
        low, high: the lowest and the highest.
    """

    arm: Arm
    epsilon: float | None
    figure: str
    seeds: int
    mean: float
    stdev: float
    low: float
    high: float


def with_own(epsilons: Iterable[float], own: float | None) -> tuple[float, ...]:
    """Return these ε and the job's own, ascending, each once; none for a job that has no ε."""
    return () if own is None else tuple(sorted({*epsilons, own}))


def summarise(results: Results) -> tuple[CurvePoint, ...]:
    """Return a point for each figure of each arm at each ε, in the order of the runs."""
    values: dict[tuple[Arm, float | None, str], list[float]] = {}
    for run, figures in results.items():
        for name, value in figures.items():
            values.setdefault((run.arm, run.epsilon, name), []).append(value)
    return tuple(
        CurvePoint(arm, epsilon, name, len(own), statistics.fmean(own), _stdev(own), low=min(own), high=max(own))
        for (arm, epsilon, name), own in values.items()
    )


def _stdev(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def render_csv(points: tuple[CurvePoint, ...]) -> str:
    """Return points as CSV with a header; an arm without noise has no ε."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([field.name for field in fields(CurvePoint)])
    for point in points:
        writer.writerow(f"{value:.6g}" if isinstance(value, float) else value for value in astuple(point))
    return out.getvalue()
