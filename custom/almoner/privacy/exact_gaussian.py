"""The exact discrete Gaussian by vectors: the law of OpenDP's sampler, some fifty times as fast.

The algorithm is that of Canonne, Kamath and Steinke. It takes uniform integers and coins that show heads with
chance exp(-γ), γ rational. Such a coin compares a uniform real number with exp(-γ):

1. Of the number, 53 bits are drawn; of exp(-γ), a double is computed, wrong by 2^-49 at most (below).
2. If they are more than `MARGIN` apart, further bits and digits cannot change the answer.
3. Else, once in 2^43 coins or so, bits and digits are added, in decimal arithmetic with a bound on its error, until
   they are apart. So no coin is decided by a rounded number, and the law is exact for every σ below `MAX_SIGMA`.

The error in step 1: |Y| and t are integers that doubles hold. σ²/t is wrong by σ·2^-52 at most, and so γ = d²/(2σ²), d
the difference of the two, by (|d|/σ)·2^-52 + γ·2^-50. As (|d|/σ)·exp(-γ) and γ·exp(-γ) are below 1, that moves exp(-γ)
by less than 2^-49; and exp itself is good to 2^-52.

Reference: Canonne, Kamath, Steinke, arXiv:2004.00010, algorithms 1 to 3.
"""

from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from almoner.errors import PolicyViolation

BITS = 53
"""How many bits of a uniform number are drawn at a time."""
MARGIN = 2.0**-44
"""How far apart a uniform number and a chance must be to be told apart by doubles; 32 times the error."""
MAX_SIGMA = 2.0**40
"""Beyond it, integers are no longer exact as doubles."""
_DRAWS_PER_VALUE = 2.4
"""Laplace candidates for a value: 1/0.63 for the candidate's own coin, 1/0.76 for the last one, and some more."""

Uniform = Callable[[int], NDArray[np.int64]]
"""How many → so many integers, uniform on [0, 2^53)."""
Below = Callable[[int, int], NDArray[np.int64]]
"""(bound, how many) → so many integers, uniform on [0, bound)."""


def exact_gaussian(sigma: float, size: int, uniform: Uniform, below: Below) -> NDArray[np.int64]:
    """Draw integers with chances proportional to exp(-x²/(2σ²)), independent of each other; int64[size].

    *Guarantee*: the law is exact if the sources are. How long sampling takes is not covered.

    Args:
        sigma: σ; its square is taken as the exact rational square of the double.
        size: how many.
        uniform: source of uniform 53-bit integers.
        below: source of uniform integers below a bound.

    Raises:
        PolicyViolation: σ is not positive, or above `MAX_SIGMA`.
    """
    if not 0 < sigma <= MAX_SIGMA:
        raise PolicyViolation(f"discrete Gaussian: σ={sigma:g} is not between 0 and 2^40 → correct the job")
    scale = int(sigma) + 1
    found, missing = [np.empty(0, dtype=np.int64)], size
    while missing > 0:
        drawn = _laplace(scale, int(missing * _DRAWS_PER_VALUE) + 16, uniform, below)
        kept = drawn[_gaussian_coins(drawn, sigma, scale, uniform)][:missing]
        found.append(kept)
        missing -= len(kept)
    return np.concatenate(found)


def _gaussian_coins(drawn: NDArray[np.int64], sigma: float, scale: int, uniform: Uniform) -> NDArray[np.bool_]:
    """Toss for each candidate y a coin of chance exp(-(|y| - σ²/t)²/(2σ²))."""
    variance = Fraction(sigma) ** 2

    def exponent(index: int) -> Fraction:
        return (abs(int(drawn[index])) - variance / scale) ** 2 / (2 * variance)

    distance = np.abs(drawn) - sigma * sigma / scale
    return coins(distance * distance / (2 * sigma * sigma), exponent, uniform)


def _laplace(scale: int, size: int, uniform: Uniform, below: Below) -> NDArray[np.int64]:
    """Draw from the discrete Laplace law of a scale, as many as come of `size` trials."""
    rest = below(scale, size)
    rest = rest[coins(rest / scale, lambda index: Fraction(int(rest[index]), scale), uniform)]
    whole, running = np.zeros(len(rest), dtype=np.int64), np.arange(len(rest))
    while len(running):
        running = running[coins(np.ones(len(running)), lambda _: Fraction(1), uniform)]
        whole[running] += 1
    magnitude, negative = rest + scale * whole, below(2, len(rest)) == 1
    signed: NDArray[np.int64] = np.where(negative, -magnitude, magnitude)
    kept: NDArray[np.int64] = signed[~(negative & (magnitude == 0))]
    return kept


def coins(exponents: NDArray[np.float64], exactly: Callable[[int], Fraction], uniform: Uniform) -> NDArray[np.bool_]:
    """Toss coins of chances exp(-γ); bool[len(exponents)].

    Args:
        exponents: the γ as doubles, close enough that exp(-γ) is wrong by 2^-49 at most.
        exactly: index → γ.
        uniform: source of uniform 53-bit integers.
    """
    bits = uniform(len(exponents))
    gap = np.exp(-exponents) - bits * 2.0**-BITS
    heads: NDArray[np.bool_] = gap > 0
    for index in np.flatnonzero(np.abs(gap) <= MARGIN):
        heads[index] = is_below_exp(int(bits[index]), BITS, exactly(int(index)), uniform)
    return heads


def is_below_exp(prefix: int, length: int, exponent: Fraction, uniform: Uniform) -> bool:
    """Tell whether a uniform number on [0, 1), of which the first bits are known, is below exp(-exponent).

    Args:
        prefix: the bits that are known, as an integer.
        length: how many they are.
        exponent: at least 0.
        uniform: where further bits come from.
    """
    if exponent == 0:
        return True
    while True:
        low, high = _exp_bounds(exponent, length)
        if Fraction(prefix + 1, 2**length) <= low:
            return True
        if Fraction(prefix, 2**length) >= high:
            return False
        prefix, length = prefix << BITS | int(uniform(1)[0]), length + BITS


def _exp_bounds(exponent: Fraction, length: int) -> tuple[Fraction, Fraction]:
    """Return bounds of exp(-exponent), closer together than 2^-length; division and exp are correctly rounded."""
    context = Context(prec=length // 3 + 20 + len(str(exponent.numerator // exponent.denominator)), Emin=-(10**8))
    quotient = context.divide(Decimal(-exponent.numerator), Decimal(exponent.denominator))
    value = Fraction(context.exp(quotient))
    error = value * (exponent + 2) * Fraction(1, 10 ** (context.prec - 1))
    return value - error, value + error
