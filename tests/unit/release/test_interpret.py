"""Reading a noised accuracy: the interval is the worst case within the noise bound, the sentence is plain."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.errors import PolicyViolation, ProtocolError
from almoner.release.accuracy import NoisyAccuracy
from almoner.release.interpret import interpret, interpret_sum
from almoner.release.laplace_law import quantile


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.05, 20), st.data())
@settings(max_examples=200, deadline=None)
def test_interval_holds_every_accuracy_within_the_bound(correct, wrong, epsilon, data):
    if correct + wrong == 0:
        return
    bound = quantile(0.025, epsilon, 1)
    first, second = (data.draw(st.integers(-bound, bound)) for _ in range(2))
    reading = interpret(correct + first, wrong + second, epsilon)
    assert reading.noise_bound == bound
    assert 0 <= reading.lower <= correct / (correct + wrong) <= reading.upper <= 1
    if reading.estimate is not None:
        assert reading.lower <= reading.estimate <= reading.upper


def test_interval_is_no_wider_than_the_bound_needs():
    reading = interpret(60, 20, 1.0)
    reach = range(-reading.noise_bound, reading.noise_bound + 1)
    possible = [(60 + a) / (80 + a + b) for a, b in itertools.product(reach, reach)]
    assert (reading.lower, reading.upper) == (min(possible), max(possible))
    assert reading.estimate == 0.75


def test_interval_widens_with_confidence_and_noise_and_sites():
    def width(**changes):
        reading = interpret(**{"noisy_correct": 600, "noisy_wrong": 200, "epsilon": 0.5} | changes)
        return reading.upper - reading.lower

    assert width(confidence=0.5) < width() < width(confidence=0.999)
    assert width() < width(epsilon=0.1)
    assert width() < width(num_sites=4) < 4 * width()


@pytest.mark.parametrize("counts", [(0, 0), (-5, 5), (-5, 2), (3, -8)])
def test_no_information_without_a_positive_total(counts):
    reading = interpret(*counts, epsilon=0.1)
    assert (reading.estimate, reading.lower, reading.upper) == (None, 0.0, 1.0)
    assert reading.text == "no information: at ε=0.1 the noise hides how many test records there are"


@pytest.mark.parametrize(("counts", "estimate"), [((50, -3), 1.0), ((-3, 50), 0.0)])
def test_estimate_stays_between_0_and_1(counts, estimate):
    assert interpret(*counts, epsilon=1.0).estimate == estimate


@pytest.mark.parametrize(
    ("counts", "epsilon", "text"),
    [
        (
            (11, 3),
            0.1,
            "about 14 test records at ε=0.1: mostly noise; accuracy 79 % on them, "
            "and the noise alone allows 0 % to 100 % (confidence 95 %)",
        ),
        (
            (60, 20),
            1.0,
            "about 80 test records at ε=1: rough; accuracy 75 % on them, "
            "and the noise alone allows 70 % to 80 % (confidence 95 %)",
        ),
        (
            (600, 100),
            1.0,
            "about 700 test records at ε=1: little noise; accuracy 86 % on them, "
            "and the noise alone allows 85 % to 87 % (confidence 95 %)",
        ),
        (
            (1, 0),
            0.1,
            "about 1 test record at ε=0.1: mostly noise; accuracy 100 % on them, "
            "and the noise alone allows 0 % to 100 % (confidence 95 %)",
        ),
    ],
)
def test_sentences(counts, epsilon, text):
    assert interpret(*counts, epsilon=epsilon).text == text


def test_percentages_are_rounded_outwards():
    reading = interpret(601, 202, 1.0)
    low, high = (int(part.split()[-1]) for part in reading.text.split("allows")[1].split(" %")[:2])
    assert low <= 100 * reading.lower
    assert 100 * reading.upper <= high
    assert high - low < 100 * (reading.upper - reading.lower) + 2


def test_sites_are_pooled():
    releases = [NoisyAccuracy(50, 10), NoisyAccuracy(30, -4), NoisyAccuracy(-2, 9)]
    assert interpret_sum(releases, 0.5, 0.9) == interpret(78, 15, 0.5, 0.9, num_sites=3)
    assert "ε=0.5 from each of 3 sites" in interpret_sum(releases, 0.5).text


def test_largest_counts_that_bytes_can_hold_are_read():
    most = NoisyAccuracy(2**63 - 1, -(2**63) + 2)
    assert interpret_sum([most] * 50, 1.0).estimate == 1.0


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"epsilon": float("nan")}, PolicyViolation),
        ({"epsilon": 0.0}, PolicyViolation),
        ({"confidence": 0.0}, ProtocolError),
        ({"confidence": 1.0}, ProtocolError),
        ({"confidence": float("nan")}, ProtocolError),
        ({"num_sites": 0}, ProtocolError),
        ({"num_sites": 51}, ProtocolError),
    ],
)
def test_refusals_are_one_line(changes, error):
    with pytest.raises(error) as caught:
        interpret(**{"noisy_correct": 5, "noisy_wrong": 5, "epsilon": 1.0} | changes)
    assert "\n" not in str(caught.value)


def test_no_release_is_refused():
    with pytest.raises(ProtocolError, match="0 sites"):
        interpret_sum([], 1.0)
