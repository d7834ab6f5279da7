"""The accuracy release: what it refuses, what it costs, and its 16 bytes."""

import math

import numpy as np
import opendp.prelude as dp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.errors import DataError, PolicyViolation, ProtocolError
from almoner.release import accuracy
from almoner.release.accuracy import MAX_COUNT, NoisyAccuracy, event, release_accuracy
from almoner.release.mechanisms import measurement
from almoner.schema.receipt import PureRelease

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(INT64, INT64)
def test_bytes_round_trip(noisy_correct, noisy_wrong):
    release = NoisyAccuracy(noisy_correct, noisy_wrong)
    data = release.to_bytes()
    assert len(data) == 16
    assert NoisyAccuracy.from_bytes(data) == release


def test_bytes_are_pinned():
    assert NoisyAccuracy(1, -2).to_bytes().hex() == "0100000000000000feffffffffffffff"


@pytest.mark.parametrize("data", [b"", bytes(15), bytes(17), None, "0" * 16, bytearray(16)])
def test_other_bytes_are_refused(data):
    with pytest.raises(ProtocolError, match="not 16 bytes"):
        NoisyAccuracy.from_bytes(data)


def test_a_count_beyond_64_bits_is_refused():
    with pytest.raises(ProtocolError, match="64 bits"):
        NoisyAccuracy(2**63, 0).to_bytes()


def test_event_is_one_pure_release():
    assert event(0.1) == PureRelease(kind="pure_release", epsilon=0.1, count=1)


@pytest.mark.parametrize("epsilon", [0, 0.0, -1.0, math.nan, math.inf, -math.inf, 101.0, 1e-7, 1e-320, "1", None])
def test_epsilon_out_of_range_is_refused(epsilon):
    for use in (event, lambda value: release_accuracy(1, 1, value)):
        with pytest.raises(PolicyViolation, match=r"is not a number in \[1e-06, 100\]") as caught:
            use(epsilon)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("counts", [(-1, 4), (4, -1), (1.0, 4), (math.nan, 4), ("1", 4), (None, 4)])
def test_impossible_counts_are_refused_without_naming_them(counts):
    with pytest.raises(DataError, match=r"^accuracy: a count is negative or no integer: pass numbers of test records$"):
        release_accuracy(*counts, epsilon=1.0)


@given(st.floats(1e-6, 100))
@settings(max_examples=300, deadline=None)
def test_opendp_claims_no_more_than_epsilon(epsilon):
    made = measurement(accuracy.event(epsilon), size=2, bound=1)
    assert epsilon * (1 - 1e-12) <= made.map(1) <= epsilon
    assert made.map(2) > 1.9 * epsilon  # the map grows with the distance: it is not a constant


def test_a_mechanism_that_claims_more_is_not_used(monkeypatch):
    honest = dp.m.make_laplace
    measurement.cache_clear()
    monkeypatch.setattr(dp.m, "make_laplace", lambda *space, scale: honest(*space, scale=scale / 2))
    with pytest.raises(PolicyViolation, match="OpenDP has no noise"):
        release_accuracy(1, 1, 1.0)


def test_counts_are_released_with_little_noise_at_a_large_epsilon():
    # P(any noise at ε=100) < 1e-42.
    assert release_accuracy(11, 3, 100.0) == NoisyAccuracy(11, 3)
    assert release_accuracy(np.int64(11), np.int32(3), 100.0) == NoisyAccuracy(11, 3)
    assert release_accuracy(0, 10**30, 100.0) == NoisyAccuracy(0, MAX_COUNT)


def test_releases_differ():
    assert len({release_accuracy(11, 3, 0.01) for _ in range(20)}) > 10
