"""The error that a request's noise is known to cause, on data that is public: what a measured curve is held against.

Counts and sums: the noise's own variance, exact. Means, shares and variances: first order (the delta method).
Quantiles: the noise of D(t) (see `estimates`) as if normal and each bin by itself. Rounding a count up to 0, and a
mean into its bounds, is not in it; both make the real error smaller.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from almoner.privacy.statistics_plan import centre, statistics_parts
from almoner.release.laws import NoiseLaw, PartNoise
from almoner.schema.columns import CategoryColumn
from almoner.schema.queries import CountQuery, HistogramQuery, QuantilesQuery, Query, ShareQuery, SumQuery, TableQuery
from almoner.schema.statistics import StatisticsSpec

Row = tuple[int, ...]


def of_mean(exact: Row, laws: tuple[NoiseLaw, ...]) -> float:
    """Return the squared error of total over count, in steps²."""
    count, total = exact[:2]
    return (laws[1].variance + (total / count) ** 2 * laws[0].variance) / count**2


def of_variance(exact: Row, laws: tuple[NoiseLaw, ...]) -> float:
    """Return the squared error of the variance, in steps⁴; `exact` is (count, sum of v, sum of v² - half_square).

    With m and s the means of v and of v² - half_square, the variance is s + half_square - m²; times the count, its
    slopes are 2m² - s in the count, -2m in the sum, and 1 in the squares.
    """
    count, total, squares = exact
    mean, second = total / count, squares / count
    slopes = (second - 2 * mean**2, 2 * mean, 1.0)
    return sum(slope**2 * law.variance for slope, law in zip(slopes, laws, strict=True)) / count**2


def of_share(exact: Row, law: NoiseLaw) -> float:
    """Return the squared error of the share of the chosen; `exact` is (chosen, others)."""
    chosen, others = exact
    return law.variance * (others**2 + chosen**2) / (chosen + others) ** 4


def of_quantile(exact: NDArray[np.int64], prob: float, law: NoiseLaw) -> float:
    """Return the squared error of a quantile, in bins²."""
    up_to = np.arange(1, len(exact))
    spread = np.sqrt(law.variance * ((1 - prob) ** 2 * up_to + prob**2 * (len(exact) - up_to)))
    excess = np.cumsum(exact)[:-1] - prob * exact.sum()
    is_below = np.concatenate([[1.0], ndtr(-excess / spread), [0.0]])
    chances = np.clip(-np.diff(is_below), 0.0, None)
    true = int((excess < 0).sum())
    return float(chances @ (np.arange(len(chances)) - true) ** 2 / chances.sum())


def squared_errors(spec: StatisticsSpec, exact: NDArray[np.int64], noise: tuple[PartNoise, ...]) -> list[float]:
    """Return the expected squared error of every number of a request, in its column's own unit, as `interpret` orders.

    Args:
        exact: int64[D], without noise, of public data; NaN is returned for groups without records.
        noise: law of each part.
    """
    errors: list[float] = []
    for place, query in enumerate(spec.queries):
        own = [(part, it.law) for part, it in zip(statistics_parts(spec), noise, strict=True) if part.query == place]
        groups = [exact[part.cells].reshape(spec.num_groups_of(query), -1) for part, _ in own]
        laws = tuple(law for _, law in own)
        for rows in zip(*groups, strict=True):
            errors += _of_group(spec, query, rows, laws)
    return errors


def _of_group(
    spec: StatisticsSpec, query: Query, rows: tuple[NDArray[np.int64], ...], laws: tuple[NoiseLaw, ...]
) -> list[float]:
    """Return the squared errors of one group; one row of each part."""
    if isinstance(query, CountQuery | HistogramQuery | TableQuery):
        return [laws[0].variance] * len(rows[0])
    if isinstance(query, ShareQuery):
        chosen, others = (int(cell) for cell in rows[0])
        return [of_share((chosen, others), laws[0]) if chosen + others else math.nan]
    column = spec.columns[query.column]
    step = 1.0 if isinstance(column, CategoryColumn) else column.step
    if isinstance(query, QuantilesQuery):
        width = step * query.bin_steps
        return [of_quantile(rows[0], prob, laws[0]) * width**2 for prob in query.probs]
    if isinstance(query, SumQuery):
        return [laws[1].variance * step**2]
    return _of_moments(tuple(int(row[0]) for row in rows), laws, step, centre(spec, query.column).half_square)


def _of_moments(exact: Row, laws: tuple[NoiseLaw, ...], step: float, half_square: int) -> list[float]:
    """Return the squared errors of mean, and of variance and standard deviation if they are asked for."""
    count = exact[0]
    if not count:
        return [math.nan] * (1 if len(exact) == 2 else 3)
    found = [of_mean(exact, laws) * step**2]
    if len(exact) == 3:
        spread = exact[2] / count + half_square - (exact[1] / count) ** 2
        error = of_variance(exact, laws)
        found += [error * step**4, error / (4 * spread) * step**2 if spread > 0 else math.nan]
    return found
