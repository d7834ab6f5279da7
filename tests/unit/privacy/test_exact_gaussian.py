"""The coins of the exact discrete Gaussian are decided by exact arithmetic alone."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from almoner.errors import PolicyViolation
from almoner.privacy import exact_gaussian as sampler
from almoner.training.noise import UnsafeSeededRandom

EXPONENTS = st.fractions(min_value=0, max_value=60, max_denominator=10**15)


def bits(value: int) -> sampler.Uniform:
    """A source whose every number is this one."""
    return lambda size: np.full(size, value, dtype=np.int64)


def exactly(exponent: Fraction) -> mpmath.mpf:
    return mpmath.exp(-mpmath.mpf(exponent.numerator) / exponent.denominator)


@given(EXPONENTS, st.integers(20, 200))
def test_bounds_hold_the_exponential_and_are_close(exponent: Fraction, length: int) -> None:
    low, high = sampler._exp_bounds(exponent, length)
    with mpmath.workdps(120):
        truth = exactly(exponent)
        assert mpmath.mpf(low.numerator) / low.denominator <= truth <= mpmath.mpf(high.numerator) / high.denominator
    assert high - low < Fraction(1, 2**length)


@given(EXPONENTS.filter(bool), st.integers(0, 2**53 - 1))
def test_a_coin_is_what_the_infinite_number_says(exponent: Fraction, prefix: int) -> None:
    """Followed by zeros for ever, or by ones, the number is at the ends of what its first bits leave open."""
    with mpmath.workdps(120):
        scaled = exactly(exponent) * mpmath.mpf(2) ** 53
        assert sampler.is_below_exp(prefix, 53, exponent, bits(0)) is bool(prefix < scaled)
        assert sampler.is_below_exp(prefix, 53, exponent, bits(2**53 - 1)) is bool(prefix + 1 < scaled)


@given(EXPONENTS.filter(bool))
def test_where_53_bits_do_not_decide_later_ones_do(exponent: Fraction) -> None:
    with mpmath.workdps(120):
        prefix = int(mpmath.floor(exactly(exponent) * mpmath.mpf(2) ** 53))
    assert sampler.is_below_exp(prefix, 53, exponent, bits(0))
    assert not sampler.is_below_exp(prefix, 53, exponent, bits(2**53 - 1))


@given(st.floats(0.1, 2.0**40), st.integers(0, 60), st.integers(0, 2**32))
def test_doubles_are_within_the_stated_error(sigma: float, sigmas: int, offset: int) -> None:
    """The candidates' chances, by the module's own expression, against exact ones: 2^-49 of 2^-44 allowed for."""
    scale = int(sigma) + 1
    drawn: NDArray[np.int64] = np.array([sigmas * scale + offset % scale, -(offset % scale)], dtype=np.int64)
    distance = np.abs(drawn) - sigma * sigma / scale
    chances = np.exp(-distance * distance / (2 * sigma * sigma))
    variance = Fraction(sigma) ** 2
    for value, chance in zip(drawn, chances, strict=True):
        exponent = (abs(int(value)) - variance / scale) ** 2 / (2 * variance)
        with mpmath.workdps(60):
            assert abs(exactly(exponent) - float(chance)) <= mpmath.mpf(2) ** -49


def test_exact_decisions_for_all_coins_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick way is a short cut, and no other law."""
    source = UnsafeSeededRandom(5)
    numbers, below = source.uniform_integers(4_000), source._generator.integers(0, 8, 4_000)

    def draw() -> NDArray[np.int64]:
        at = {"uniform": 0}

        def uniform(size: int) -> NDArray[np.int64]:
            at["uniform"] += size
            return numbers[at["uniform"] - size : at["uniform"]]

        return sampler.exact_gaussian(7.3, 100, uniform, lambda bound, size: below[:size] % bound)

    quick = draw()
    monkeypatch.setattr(sampler, "MARGIN", 2.0)
    assert np.array_equal(draw(), quick)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), 2.0**41])
def test_a_scale_out_of_range_is_refused(sigma: float) -> None:
    with pytest.raises(PolicyViolation, match="between 0 and 2"):
        sampler.exact_gaussian(sigma, 1, bits(0), lambda bound, size: np.zeros(size, dtype=np.int64))
