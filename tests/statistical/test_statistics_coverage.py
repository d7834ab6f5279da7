"""How often the stated 95 % intervals hold the number without noise, measured over releases with OpenDP's noise.

OpenDP cannot be seeded. Each number is released 3,000 times (1,000 releases of three groups), so its coverage has a
standard error of 0.4 %: six of them lie between 95 % and the upper bound, five if whole numbers overshoot by half a
percent. The lower bound is further away, for the intervals of a mean, which are of first order, hold it in 94.2 to
94.7 % of releases: five standard errors of 0.43 % below 94.2 %. Over the seven numbers of a test that is a
false-positive rate (FPR) of some 1e-6 (normal approximation).
"""

import numpy as np
import pytest
from tests.statistics_cases import exact, people, privacy, request

from almoner.release.answers import interpret
from almoner.release.laws import local_noise
from almoner.release.mechanisms import noised
from almoner.schema.statistics import StatisticsSpec

RELEASES = 1_000
LOW, HIGH = 0.92, 0.975
QUERIES = (
    {"name": "n", "kind": "count", "share": 0.1, "by": ["city"]},
    {"name": "total", "kind": "sum", "share": 0.1, "column": "hours", "by": ["city"]},
    {"name": "mean", "kind": "mean", "share": 0.2, "column": "age", "by": ["city"]},
    {"name": "spread", "kind": "variance", "share": 0.4, "column": "age", "by": ["city"]},
    {"name": "women", "kind": "share", "share": 0.2, "column": "sex", "values": ["F"], "by": ["city"]},
)
THREE_CITIES = [line.replace(b",Bonn", b",Lima") for line in people(9_000, seed=5)]


def coverage(spec: StatisticsSpec, lines: list[bytes], releases: int = RELEASES) -> dict[tuple[str, str], float]:
    """Return, for each statistic of each query, the share of intervals that hold what there is without noise."""
    cells, noise = exact(spec, lines), local_noise(spec)
    truth = interpret(spec, cells, noise)
    hits: dict[tuple[str, str], list[bool]] = {}
    for _ in range(releases):
        for found, true in zip(interpret(spec, noised(spec, cells), noise), truth, strict=True):
            covers = found.lower - 1e-9 <= true.value <= found.upper + 1e-9
            hits.setdefault((found.query, found.statistic), []).append(covers)
    return {number: float(np.mean(covered)) for number, covered in hits.items()}


@pytest.mark.parametrize("mechanism", ["integer_laplace", pytest.param("discrete_gaussian", marks=pytest.mark.slow)])
def test_intervals_cover_as_often_as_they_say(mechanism: str) -> None:
    found = coverage(request(QUERIES, privacy=privacy(mechanism, epsilon=0.5)), THREE_CITIES)
    assert len(found) == 7  # count, sum, two means, variance, standard deviation, share
    assert all(LOW < share < HIGH for share in found.values()), found


def test_means_of_small_groups_cover_too() -> None:
    """Groups of some 60 units, where first-order intervals are short: noise of a tenth of the group (FPR 1e-6)."""
    small = tuple({**query, "share": 1.0} for query in QUERIES if query["name"] == "mean")
    found = coverage(request(small, privacy=privacy(epsilon=1.0)), THREE_CITIES[:190])
    assert all(LOW < share < HIGH for share in found.values()), found


def test_quantiles_cover_at_least_as_often_as_they_say() -> None:
    """On bins with few units each beside the noise about 97 %; on full bins more, since a quantile is a whole bin.

    Four quantiles of one release are dependent: the deviation of a release's share, measured over 2,000, is 9.7 %. So
    of 400 the bounds are nine deviations below 97.4 % and above it 8 misses, where 42 are expected (FPR 1e-7).
    """
    fine = {"age": {"kind": "integer", "low": 0, "high": 149}}
    query = ({"name": "q", "kind": "quantiles", "share": 1.0, "column": "age", "probs": [0.1, 0.25, 0.5, 0.9]},)
    few = coverage(request(query, columns=fine, privacy=privacy(epsilon=0.3)), people(1_000, seed=3), releases=400)
    assert all(0.93 < share < 0.995 for share in few.values()), few
    many = coverage(request(query, columns=fine, privacy=privacy(epsilon=3.0)), people(6_000, seed=3), releases=400)
    assert all(share > 0.93 for share in many.values()), many


def test_the_measure_would_see_intervals_for_too_little_noise() -> None:
    """With intervals as of half the noise, coverage falls to 70-80 %."""
    honest = request(tuple({**q, "share": 1 / 3} for q in QUERIES[:3]), privacy=privacy(epsilon=0.5))
    doubled = honest.privacy.model_copy(update={"target_epsilon": 1.0})
    cells, too_sure = exact(honest, THREE_CITIES), local_noise(honest.model_copy(update={"privacy": doubled}))
    truth = interpret(honest, cells, too_sure)
    hits = [
        found.lower <= true.value <= found.upper
        for _ in range(100)
        for found, true in zip(interpret(honest, noised(honest, cells), too_sure), truth, strict=True)
    ]
    assert 0.6 < np.mean(hits) < 0.88
