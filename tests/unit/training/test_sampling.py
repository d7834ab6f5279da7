import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from almoner.training.noise import UnsafeSeededRandom
from almoner.training.sampling import poisson_sample, sample_bound


def test_everybody_at_one_and_nobody_of_none() -> None:
    assert np.array_equal(poisson_sample(UnsafeSeededRandom(0), 1.0, 10), np.arange(10))
    assert len(poisson_sample(UnsafeSeededRandom(0), 0.5, 0)) == 0


@given(seed=st.integers(0, 2**32), low=st.floats(1e-9, 1), high=st.floats(1e-9, 1))
def test_samples_are_distinct_ascending_and_grow_with_the_probability(seed: int, low: float, high: float) -> None:
    low, high = sorted((low, high))
    small, large = (poisson_sample(UnsafeSeededRandom(seed), prob, 200) for prob in (low, high))
    assert set(small) <= set(large)
    assert np.array_equal(large, np.unique(large))


@given(units=st.integers(1, 10**9), prob=st.floats(1e-9, 1))
def test_bound_is_between_the_mean_and_everybody(units: int, prob: float) -> None:
    assert units * prob <= sample_bound(units, prob) + 1e-6 * units
    assert sample_bound(units, prob) <= units


def test_bound_is_eight_deviations() -> None:
    assert sample_bound(10_000, 0.5) == 5400
    assert sample_bound(212, 1.0) == 212
    assert sample_bound(212, 0.5) == 165
