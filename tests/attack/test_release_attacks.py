"""Attacks on released statistics: requests that differ by one person, cells of one person, floating-point noise."""

import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from tests.statistics_cases import exact, people, privacy, request

from almoner.release.answers import interpret
from almoner.release.laws import local_noise
from almoner.release.mechanisms import noised
from almoner.schema.statistics import StatisticsSpec

MECHANISMS = ["integer_laplace", "discrete_gaussian"]
RELEASES = 1_000
FPR = 1e-6
PERSON = b"999,40,38.5,F,x,Lima"
OTHERS = people(200, seed=9)


def best_guess_rate(epsilon: float) -> float:
    """Return the highest rate of right guesses, of two equally likely data sets, that pure ε allows."""
    return 1 / (1 + math.exp(-epsilon))


def guesses(spec: StatisticsSpec, read: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what an attacker reads off RELEASES releases without the person, and as many with it: float64[2, n].

    Args:
        read: the linear combination of the cells that the person moves.
    """
    worlds = [exact(spec, OTHERS), exact(spec, [*OTHERS, PERSON])]
    return np.array([[noised(spec, world) @ read for _ in range(RELEASES)] for world in worlds], dtype=float)


@pytest.mark.threat("T-52")
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_two_requests_that_differ_by_one_person_do_not_tell_of_it(mechanism: str) -> None:
    """Everybody, minus everybody who is not in Lima, where one person at most lives (FPR 1e-6)."""
    queries = (
        {"name": "all", "kind": "count", "share": 0.5},
        {"name": "elsewhere", "kind": "count", "share": 0.5, "where": {"city": ["Rome", "Oslo"]}},
    )
    spec, difference = request(queries, privacy=privacy(mechanism)), np.array([1, -1])
    without, with_it = (exact(spec, lines) @ difference for lines in (OTHERS, [*OTHERS, PERSON]))
    assert with_it - without == 1  # without noise the difference is the person
    seen = guesses(spec, difference)
    right = (seen[0] < without + 0.5).sum() + (seen[1] > without + 0.5).sum()
    assert right <= stats.binom.isf(FPR, 2 * RELEASES, best_guess_rate(1.0))


@pytest.mark.threat("T-53")
def test_whether_a_small_cell_is_told_does_not_tell_of_one_person() -> None:
    """A threshold on true counts says for sure whether a cell has 19 or 20; one on noisy counts does not (FPR 1e-6)."""
    query = ({"name": "cities", "kind": "histogram", "share": 1.0, "column": "city"},)
    spec = request(query, min_count=20)
    noise, told = local_noise(spec), []
    assert [count >= spec.min_count for count in (19, 20)] == [False, True]  # the attack on the naive policy
    for count in (19, 20):
        cells = np.array([500, 500, count])
        answers = [interpret(spec, noised(spec, cells), noise)[2] for _ in range(RELEASES)]
        assert all(a.suppressed == (a.value is None) == ("not told" in a.sentence) for a in answers)
        assert all(a.suppressed or a.value >= spec.min_count for a in answers)
        told.append(sum(not answer.suppressed for answer in answers))
    right = (RELEASES - told[0]) + told[1]
    assert right <= stats.binom.isf(FPR, 2 * RELEASES, best_guess_rate(1.0))


@pytest.mark.threat("T-53")
def test_a_person_alone_in_a_cell_is_never_told() -> None:
    """At ε=1 noise lifts a cell of one person to 20 with probability p^19 / (1 + p) = 4e-9, p = 1/e (FPR 8e-7)."""
    spec = request(({"name": "t", "kind": "table", "share": 1.0, "columns": ["sex", "city"]},), min_count=20)
    cells = exact(spec, [*OTHERS, PERSON])
    alone = 2  # F, Lima
    assert cells[alone] == 1  # a table without noise and policy names the person
    answers = [interpret(spec, noised(spec, cells), local_noise(spec))[alone] for _ in range(200)]
    assert all(answer.suppressed for answer in answers)


def naive_laplace(value: float, scale: float, rng: np.random.Generator) -> float:
    """Return a textbook floating-point Laplace release: inverse transform of a 53-bit uniform."""
    uniform = (rng.integers(1, 2**53) + 0.0) / 2.0**53
    return value + (1 if rng.integers(2) else -1) * scale * -math.log(uniform)


def is_possible(seen: float, value: float, scale: float) -> bool:
    """Say whether the textbook release could have been `seen`, by trying all uniforms that come close."""
    near = round(math.exp(-abs(seen - value) / scale) * 2**53)
    sign = 1.0 if seen >= value else -1.0
    reach = 200 + int(scale * 8)
    return any(
        value + sign * scale * -math.log(k / 2.0**53) == seen
        for k in range(max(1, near - reach), min(2**53 - 1, near + reach) + 1)
    )


@pytest.mark.threat("T-54")
def test_the_low_bits_of_floating_point_noise_name_the_data_and_integers_have_none() -> None:
    """Mironov (CCS 2012). Counts of two adjacent data sets: off, with floats, many releases fit one of them alone."""
    rng = np.random.default_rng(4)
    naive = [naive_laplace(1.0, 1.0, rng) for _ in range(150)]
    assert all(is_possible(seen, 1.0, 1.0) for seen in naive)
    given_away = sum(not is_possible(seen, 0.0, 1.0) for seen in naive)
    assert given_away > 30
    spec = request(({"name": "n", "kind": "count", "share": 1.0},))
    counts = [int(exact(spec, lines)[0]) for lines in (OTHERS, [*OTHERS, PERSON])]
    assert counts[1] - counts[0] == 1
    for _ in range(300):
        for count in counts:
            seen = noised(spec, np.array([count]))[0]
            assert seen.dtype == np.int64  # the support is all integers, for both data sets
            distances = [abs(Fraction(int(seen)) - other) for other in counts]
            assert abs(distances[0] - distances[1]) == 1  # exactly: their likelihoods differ by a factor e^±ε


@pytest.mark.threat("T-54")
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_adjacent_data_sets_have_the_same_support(mechanism: str) -> None:
    """All of a release of every kind of query: integers of either parity and sign, around either data set."""
    spec = request(privacy=privacy(mechanism, epsilon=0.5))
    for lines in (OTHERS, [*OTHERS, PERSON]):
        cells = exact(spec, lines)
        moved = np.array([noised(spec, cells) - cells for _ in range(40)])
        assert moved.dtype == np.int64
        assert (moved % 2 == 0).any(axis=0).all()  # FPR 1e-8: each cell both even and odd in 40 releases
        assert (moved % 2 == 1).any(axis=0).all()
