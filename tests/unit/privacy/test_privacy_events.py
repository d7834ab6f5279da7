from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_cases import gaussian, pure

from almoner.privacy.events import MAX_EVENT_COUNT, group_events, quantise
from almoner.privacy.rdp import rdp

sigmas = st.floats(min_value=0.3, max_value=1e4)
probs = st.floats(min_value=1e-6, max_value=1.0)


@settings(deadline=None)
@given(st.floats(min_value=1e-300, max_value=1e6), st.floats(min_value=1e-300, max_value=1.0), st.integers(1, 1000))
def test_the_grid_is_on_the_safe_side_and_near(sigma: float, q: float, count: int) -> None:
    event = gaussian(sigma, q, count)
    rounded = quantise(event)
    assert rounded.noise_multiplier <= sigma <= rounded.noise_multiplier * (1 + 1.01e-8)
    assert q <= rounded.sampling_prob <= min(1.0, q * (1 + 1.01e-8))
    assert rounded.count == count
    assert quantise(rounded) == rounded


@settings(deadline=None)
@given(st.floats(min_value=1e-300, max_value=100.0))
def test_the_grid_rounds_epsilon_up(epsilon: float) -> None:
    rounded = quantise(pure(epsilon))
    assert epsilon <= rounded.epsilon <= min(100.0, epsilon * (1 + 1.01e-8))


@settings(deadline=None)
@given(sigmas, probs, st.sampled_from([2, 6, 8, 18, 64]))
def test_the_grid_costs_less_than_a_tenth_of_a_percent(sigma: float, q: float, order: int) -> None:
    # 1e-15: below it the library's rounding, which the charge takes when it is above the truth, is larger
    nudged = gaussian(sigma * (1 - 1e-8), min(1.0, q * (1 + 1e-8)))
    assert rdp(nudged, order) <= 1.001 * rdp(gaussian(sigma, q), order) + 1e-15


def test_calibrated_noise_is_on_the_grid_already() -> None:
    for ticks in (300, 7297, 15551, 999_999, 123_456_789):
        assert quantise(gaussian(ticks / 1000)).noise_multiplier == ticks / 1000


def test_equal_mechanisms_are_counted_together() -> None:
    events = (gaussian(count=2), pure(0.1), gaussian(count=3), pure(0.2), pure(0.1, 4))
    assert group_events(events) == (gaussian(count=5), pure(0.1, 5), pure(0.2))
    assert group_events(()) == ()


def test_a_count_above_the_schema_is_spread() -> None:
    events = (gaussian(count=MAX_EVENT_COUNT), gaussian(count=7), gaussian(count=MAX_EVENT_COUNT))
    assert group_events(events) == (
        gaussian(count=MAX_EVENT_COUNT),
        gaussian(count=MAX_EVENT_COUNT),
        gaussian(count=7),
    )
