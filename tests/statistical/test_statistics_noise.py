"""The noise of statistics as OpenDP draws it, against its stated law, for every part of a request.

OpenDP cannot be seeded, so each test states its false-positive rate (FPR): at most 1e-6 each.
"""

import math
from functools import lru_cache

import numpy as np
import pytest
from scipy import stats
from tests.statistics_cases import privacy, request

from almoner.privacy.statistics_plan import part_event, statistics_parts
from almoner.release.laws import NoiseLaw, local_noise
from almoner.release.mechanisms import measurement, noised

FPR = 1e-6
MECHANISMS = ["integer_laplace", "discrete_gaussian"]
BINS = {"age": {"kind": "integer", "low": 0, "high": 1999}}
QUERIES = (
    {"name": "h", "kind": "histogram", "share": 0.6, "column": "age"},
    {"name": "n", "kind": "sum", "share": 0.4, "column": "age"},
)


@lru_cache(maxsize=2)
def noise(mechanism: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the noise of 20,000 bins, and of 20,000 sums (bound 1999)."""
    spec = request(QUERIES, columns=BINS, privacy=privacy(mechanism, epsilon=4.0))
    zeros = np.zeros(spec.num_cells, dtype=np.int64)
    draws = [noised(spec, zeros) for _ in range(10)]
    sums = request((QUERIES[1] | {"share": 1.0},), columns=BINS, privacy=privacy(mechanism, epsilon=4.0))
    part = statistics_parts(sums)[1]
    drawn = measurement(part_event(sums, part), 20_000, part.bound)([0] * 20_000)
    return np.concatenate([draw[:2000] for draw in draws]), np.array(drawn)


def laws(mechanism: str) -> tuple[NoiseLaw, NoiseLaw]:
    spec = request(QUERIES, columns=BINS, privacy=privacy(mechanism, epsilon=4.0))
    sums = request((QUERIES[1] | {"share": 1.0},), columns=BINS, privacy=privacy(mechanism, epsilon=4.0))
    return local_noise(spec)[0].law, local_noise(sums)[1].law


def chances(law: NoiseLaw, reach: int) -> np.ndarray:
    """Return P(z) for z from -reach to reach, from the law's definition."""
    z = np.arange(-reach, reach + 1, dtype=float)
    weights = np.exp(-abs(z) / law.scale if law.mechanism == "integer_laplace" else -(z**2) / (2 * law.scale**2))
    return weights / weights.sum()


def goodness_of_fit(draws: np.ndarray, law: NoiseLaw, cells: int = 40) -> float:
    """Return the chi-square p-value of draws, in classes of about equal probability."""
    reach = math.ceil(60 * law.scale)
    cumulative = np.cumsum(chances(law, reach))
    edges = np.unique(np.searchsorted(cumulative, np.linspace(0, 1, cells + 1)[1:-1])) - reach
    inside = np.diff(np.concatenate([[0.0], cumulative[edges + reach], [1.0]]))
    kept = inside > 20 / draws.size
    observed = np.bincount(np.searchsorted(edges, draws), minlength=len(edges) + 1)
    expected = inside * draws.size
    if not kept.all():
        observed = np.append(observed[kept], observed[~kept].sum())
        expected = np.append(expected[kept], expected[~kept].sum())
    return float(stats.chisquare(observed, expected).pvalue)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("which", [0, 1])
def test_noise_has_the_stated_distribution(mechanism: str, which: int) -> None:
    """FPR 1e-6 each (chi-square): counts with little noise, sums with much."""
    assert goodness_of_fit(noise(mechanism)[which], laws(mechanism)[which]) > FPR


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("factor", [0.85, 1.15])
def test_the_goodness_of_fit_would_see_noise_15_percent_off(mechanism: str, factor: float) -> None:
    """It fails wrongly with probability below 1e-6: chi-square is then about 390 ± 40, and its limit 96."""
    for draws, law in zip(noise(mechanism), laws(mechanism), strict=True):
        assert goodness_of_fit(draws, NoiseLaw(law.mechanism, law.scale * factor)) < FPR


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_moments_are_the_stated_ones(mechanism: str) -> None:
    """FPR 1e-6 each (normal approximation: 5 standard errors, 6 for the variance, whose estimate is skewed)."""
    for draws, law in zip(noise(mechanism), laws(mechanism), strict=True):
        values = draws.astype(float)
        assert abs(values.mean()) < 5 * math.sqrt(law.variance / values.size)
        error = math.sqrt((law.fourth_cumulant + 2 * law.variance**2) / values.size)
        assert abs((values**2).mean() - law.variance) < 6 * error


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_bins_are_noised_independently(mechanism: str) -> None:
    """FPR 1e-6 (correlation of neighbours, and of their sizes: 5 and 5.5 standard errors)."""
    draws = noise(mechanism)[0].reshape(-1, 2).astype(float)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 5 / math.sqrt(len(draws))
    assert abs(np.corrcoef(np.abs(draws).T)[0, 1]) < 5.5 / math.sqrt(len(draws))


@pytest.mark.parametrize("law", [
    NoiseLaw("integer_laplace", 0.3), NoiseLaw("integer_laplace", 20.0), NoiseLaw("integer_laplace", 7.0, 4),
    NoiseLaw("discrete_gaussian", 0.4), NoiseLaw("discrete_gaussian", 9.9, 3), NoiseLaw("discrete_gaussian", 50.0, 2),
])  # fmt: skip
def test_draws_for_intervals_reach_and_moments_agree(law: NoiseLaw) -> None:
    """Seeded: what the readers draw has the law's moments, and its half width holds 95 % and not much more."""
    draws = law.sample(np.random.default_rng(7), 400_000)
    assert draws.var() == pytest.approx(law.variance, rel=0.02)
    fourth = (draws**4).mean() - 3 * draws.var() ** 2
    assert fourth == pytest.approx(law.fourth_cumulant, abs=0.05 * max(law.variance**2, law.fourth_cumulant))
    reach = law.half_width(0.95)
    assert (abs(draws) <= reach).mean() > 0.949
    assert reach == 0 or (abs(draws) <= reach - 1).mean() < 0.951
