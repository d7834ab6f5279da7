"""What counts of right guesses say, against vectors and against cases whose chances are known exactly."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from almoner.errors import PolicyViolation
from almoner.privacy.pld import pld_epsilon
from almoner.redteam.audit.bounds import Curve, ceiling, one_run_epsilon, p_value, refutes
from almoner.redteam.audit.report import fisher
from almoner.redteam.audit.tradeoff import trade_off
from almoner.schema.receipt import PublicData, SampledGaussian

VECTORS = json.loads((Path(__file__).resolve().parents[2] / "vectors" / "redteam" / "bounds.json").read_text())


def gaussian(mu: float) -> Curve:
    return lambda false_alarm: float(norm.cdf(norm.isf(false_alarm) - mu))


def pure(epsilon: float) -> Curve:
    growth = math.exp(epsilon)
    return lambda false_alarm: max(0.0, 1 - growth * false_alarm, (1 - false_alarm) / growth)


CURVES = {"gaussian": gaussian, "pure": pure}


def step(noise: float, prob: float, count: int) -> SampledGaussian:
    return SampledGaussian(kind="sampled_gaussian", noise_multiplier=noise, sampling_prob=prob, count=count)


@pytest.mark.parametrize("vector", VECTORS["one_run"])
def test_one_run_epsilon(vector: dict[str, float]) -> None:
    counts = int(vector["m"]), int(vector["guesses"]), int(vector["correct"])
    assert one_run_epsilon(*counts, vector["significance"], vector["delta"]) == pytest.approx(
        vector["epsilon"], abs=1e-6
    )


@pytest.mark.parametrize("vector", VECTORS["trade_off"])
def test_chance_under_a_trade_off_function(vector: dict[str, float | str]) -> None:
    curve = CURVES[str(vector["curve"])](float(vector["parameter"]))
    counts = int(vector["m"]), int(vector["guesses"]), int(vector["correct"])
    found = p_value(curve, *counts)
    assert float(vector["p_value"]) * 0.9999 <= found <= float(vector["p_value"]) * 1.002
    assert refutes(curve, *counts, found * 1.0001) or found == 1.0
    assert not refutes(curve, *counts, found * 0.998)


@pytest.mark.parametrize("vector", VECTORS["ceiling"])
def test_ceiling_is_what_all_guesses_right_show(vector: dict[str, float]) -> None:
    count = int(vector["m"])
    assert ceiling(count) == pytest.approx(vector["epsilon"])
    assert one_run_epsilon(count, count, count, 0.05, 0.0) == pytest.approx(ceiling(count), abs=1e-6)


@pytest.mark.parametrize("mu", [0.1, 1.0])
@pytest.mark.parametrize("canaries", [50, 150])
def test_honest_mechanisms_are_refuted_no_oftener_than_said(mu: float, canaries: int) -> None:
    """Each canary noised by itself, all guessed: right guesses are Binomial(m, Φ(μ/2)), exactly."""
    least = next(c for c in range(canaries + 2) if c > canaries or refutes(gaussian(mu), canaries, canaries, c, 0.05))
    assert binom.sf(least - 1, canaries, norm.cdf(mu / 2)) <= 0.05
    assert least <= canaries  # it is not honest about everything


@given(st.integers(20, 80), st.data())
@settings(max_examples=25, deadline=None)
def test_more_right_guesses_are_less_likely_and_pure_dp_is_at_least_binomial(
    canaries: int, data: st.DataObject
) -> None:
    correct = data.draw(st.integers(1, canaries))
    epsilon = data.draw(st.floats(0.0, 2.0))
    found = p_value(pure(epsilon), canaries, canaries, correct)
    assert found <= p_value(pure(epsilon), canaries, canaries, correct - 1) * 1.002
    exact = binom.sf(correct - 1, canaries, math.exp(epsilon) / (1 + math.exp(epsilon)))
    assert found >= min(1.0, exact) * 0.998


def test_counts_that_do_not_fit() -> None:
    for counts in ((10, 11, 3), (10, 5, 6), (10, 0, 0)):
        with pytest.raises(PolicyViolation, match="correct the counts"):
            one_run_epsilon(*counts, 0.05, 0.0)


def test_fisher() -> None:
    assert fisher([0.03]) == pytest.approx(0.03)
    assert fisher([0.1] * 8) < 0.005
    assert fisher([1.0] * 8) == 1.0


def test_curve_of_a_gaussian_is_close_below_the_exact_one() -> None:
    curve = trade_off((step(2.0, 1.0, 1),))
    assert curve is not None
    for false_alarm in (1e-4, 0.01, 0.2, 0.5, 0.9):
        exact = gaussian(0.5)(false_alarm)
        assert exact - 2e-3 <= curve(false_alarm) <= exact + 1e-9


def test_curve_of_a_sampled_gaussian_keeps_its_epsilon_in_both_directions() -> None:
    event = step(1.5, 0.1, 30)
    curve, epsilon = trade_off((event,)), pld_epsilon((event,), 1e-4)
    assert curve is not None
    line = np.linspace(0, 1, 101)
    found = 1 - curve.most_found(line)
    growth = math.exp(epsilon)
    assert (found >= np.maximum(1 - 1e-4 - growth * line, (1 - 1e-4 - line) / growth) - 1e-9).all()
    assert found[50] > pure(epsilon)(0.5) + 0.1  # it says more than ε does
    assert trade_off((PublicData(kind="public_data", count=1),)) is None
