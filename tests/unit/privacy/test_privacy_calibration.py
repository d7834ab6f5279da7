import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_cases import gaussian

from almoner.errors import DocumentError
from almoner.privacy.calibration import calibrate_noise, smallest_ticks
from almoner.privacy.pld import pld_epsilon
from almoner.privacy.rdp import rdp


def _epsilon(sigma: float, delta: float, q: float, count: int) -> float:
    return pld_epsilon((gaussian(sigma, q, count),), delta)


def test_the_heart_job() -> None:
    sigma = calibrate_noise(1.0, 1e-4, 0.5, 20)
    assert sigma == 7.297
    assert 20 * rdp(gaussian(sigma, 0.5), 8) == pytest.approx(0.3893, abs=5e-5)


def test_the_heart_job_at_a_smaller_target() -> None:
    assert 20 * rdp(gaussian(calibrate_noise(0.42, 1e-4, 0.5, 20), 0.5), 8) == pytest.approx(0.0833, abs=5e-5)


@settings(deadline=None, max_examples=8)
@given(
    st.floats(min_value=0.1, max_value=8.0),
    st.sampled_from([1e-4, 1e-6]),
    st.floats(min_value=0.01, max_value=1.0),
    st.integers(1, 300),
)
def test_meets_the_target_and_the_next_smaller_noise_does_not(target: float, delta: float, q: float, n: int) -> None:
    sigma = calibrate_noise(target, delta, q, n)
    assert _epsilon(sigma, delta, q, n) <= target
    if sigma > 0.3:
        assert _epsilon(round(sigma * 1000 - 1) / 1000, delta, q, n) > target


def test_noise_never_falls_below_the_floor() -> None:
    # q·steps < δ: by the letter of (ε, δ)-DP no noise would be needed, and the sampled unit be exposed
    assert calibrate_noise(1.0, 1e-4, 1e-6, 1) == 0.3
    assert calibrate_noise(100.0, 1e-4, 1.0, 1) == 0.3


def test_long_jobs_are_calibrated_by_the_renyi_bound() -> None:
    sigma = calibrate_noise(1.0, 1e-5, 0.01, 1_000_000)
    assert _epsilon(sigma, 1e-5, 0.01, 1_000_000) <= 1.0 < _epsilon(sigma - 0.001, 1e-5, 0.01, 1_000_000)


def test_no_steps_need_no_noise() -> None:
    assert calibrate_noise(1.0, 1e-4, 0.5, 0) == 0.0


@pytest.mark.parametrize(
    ("target", "delta", "q", "n"),
    [
        (0.005, 1e-4, 0.5, 20),
        (math.nan, 1e-4, 0.5, 20),
        (math.inf, 1e-4, 0.5, 20),
        (1.0, 1e-12, 0.5, 20),
        (1.0, 1e-4, 0.0, 20),
        (1.0, 1e-4, 1.5, 20),
        (1.0, 1e-4, 0.5, -1),
        (1.0, 1e-4, 0.5, 10_000_001),
        (0.01, 1e-10, 1.0, 10_000_000),
    ],
)
def test_what_cannot_be_calibrated_is_refused_in_one_line(target: float, delta: float, q: float, n: int) -> None:
    with pytest.raises(DocumentError, match="privacy") as refusal:
        calibrate_noise(target, delta, q, n)
    assert "\n" not in str(refusal.value)
    assert "→" in str(refusal.value)


@settings(deadline=None)
@given(st.integers(1, 10**9 + 10))
def test_the_smallest_tick_is_found(threshold: int) -> None:
    found = smallest_ticks(lambda ticks: ticks >= threshold)
    assert found == (None if threshold > 10**9 else max(300, threshold))


@settings(deadline=None)
@given(st.integers(300, 10**9), st.sampled_from([0.03, 0.5]))
def test_with_slack_a_meeting_tick_near_the_smallest_is_found(threshold: int, slack: float) -> None:
    found = smallest_ticks(lambda ticks: ticks >= threshold, slack)
    assert threshold <= found <= max(threshold * (1 + slack), threshold + 1)
