"""Error against ε on public data: a request is answered many times at each ε, beside the error that theory gives.

The true answer is used here, so it is for data that is registered as public alone; the caller checks that.
"""

import csv
import io
import math
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from almoner.release.answers import interpret
from almoner.release.laws import local_noise
from almoner.release.mechanisms import noised
from almoner.release.theory import squared_errors
from almoner.schema.answer import Answer
from almoner.schema.statistics import StatisticsSpec

EPSILONS = (0.1, 0.3, 1.0, 3.0, 10.0)
RUNS = 200
BAND = 0.95


@dataclass(frozen=True)
class CurvePoint:
    """The error of one query's statistic at one ε, over all its groups and bins, in the column's own unit.

    Args:
        epsilon: of the whole request.
        numbers: how many numbers the query tells of this statistic.
        error: root of the mean squared error over runs and numbers.
        band_low, band_high: between which 95 % of the runs' own root mean squared errors lie.
        theory: what `theory` expects for `error`.
    """

    query: str
    statistic: str
    epsilon: float
    numbers: int
    runs: int
    error: float
    band_low: float
    band_high: float
    theory: float


def measure_curve(
    spec: StatisticsSpec,
    sites: tuple[NDArray[np.int64], ...],
    tell: Callable[[float, int], None],
    epsilons: tuple[float, ...] = EPSILONS,
    runs: int = RUNS,
) -> tuple[CurvePoint, ...]:
    """Answer a request many times at each ε, and compare with the true answer.

    Args:
        spec: with any ε; each site noises its own numbers, and no cell is left out as too small.
        sites: the exact integers of each site, int64[D]; of public data.
        tell: takes ε and the number of runs done, for progress.
        epsilons: of the whole request.
        runs: releases at each ε.
    """
    points: list[CurvePoint] = []
    exact = np.sum(sites, axis=0)
    for epsilon in epsilons:
        at = spec.model_copy(
            update={"min_count": 0, "privacy": spec.privacy.model_copy(update={"target_epsilon": epsilon})}
        )
        noise = local_noise(at, len(sites))
        truth, expected = interpret(at, exact, noise), np.array(squared_errors(at, exact, noise))
        squares = np.full((runs, len(truth)), math.nan)
        for run in range(runs):
            total = np.sum([noised(at, site) for site in sites], axis=0)
            squares[run] = [
                _square(found, true) for found, true in zip(interpret(at, total, noise), truth, strict=True)
            ]
            tell(epsilon, run + 1)
        points += _points(epsilon, truth, squares, expected)
    return tuple(points)


def _square(found: Answer, true: Answer) -> float:
    """Return the squared error of a number; where the noise hides it, that of the middle of all that it could be."""
    if true.value is None or found.lower is None or found.upper is None:
        return math.nan
    value = (found.lower + found.upper) / 2 if found.value is None else found.value
    return (value - true.value) ** 2


def _points(
    epsilon: float, truth: tuple[Answer, ...], squares: NDArray[np.float64], expected: NDArray[np.float64]
) -> list[CurvePoint]:
    """Return one point for each statistic of each query."""
    places: dict[tuple[str, str], list[int]] = {}
    for place, answer in enumerate(truth):
        if answer.value is not None and not math.isnan(expected[place]):
            places.setdefault((answer.query, answer.statistic), []).append(place)
    points = []
    for (query, statistic), own in places.items():
        errors = np.sqrt(squares[:, own].mean(axis=1))
        low, high = np.quantile(errors, [(1 - BAND) / 2, (1 + BAND) / 2])
        measured, theory = (math.sqrt(float(some[..., own].mean())) for some in (squares, expected))
        points.append(
            CurvePoint(query, statistic, epsilon, len(own), len(squares), measured, float(low), float(high), theory)
        )
    return points


def render_csv(points: tuple[CurvePoint, ...]) -> str:
    """Return the points as CSV with a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([field.name for field in fields(CurvePoint)])
    writer.writerows(astuple(point) for point in points)
    return out.getvalue()
