"""Where the randomness of privacy comes from: a ChaCha20 key stream behind numpy's Generator.

numpy's and torch's own generators can be predicted from their output; noise and samples that an
adversary can predict protect nobody.
"""

import secrets
from abc import ABC

import numpy as np
import randomgen
from numpy.typing import NDArray

UNIFORM_BITS = 53
_ROUNDS = 20


class RandomSource(ABC):
    """Draws what a private mechanism needs. Take `SecureRandom`; a key is never shared by two sources."""

    _generator: np.random.Generator

    def gaussian_integers(self, scale: float, size: int) -> NDArray[np.int64]:
        """Draw a normal distribution rounded to integers.

        Guarantee: each entry is `round(N(0, scale²))`, drawn in double precision. Added to integers, it
        has the distribution of the Gaussian mechanism's output rounded to the grid: rounding commutes with
        adding an integer, and is post-processing. What a float64 sampler tells by its lowest bits
        (Mironov, CCS 2012) is rounded away; it is not a sampler of the exact discrete Gaussian.

        Args:
            scale: standard deviation before rounding, in grid steps.
            size: how many.
        """
        return np.rint(self._generator.normal(0.0, scale, size)).astype(np.int64)

    def uniform_integers(self, size: int) -> NDArray[np.int64]:
        """Draw integers that are uniform on [0, 2^53)."""
        return self._generator.integers(0, 2**UNIFORM_BITS, size)


class SecureRandom(RandomSource):
    """ChaCha20 with a fresh 256-bit key from the operating system."""

    def __init__(self) -> None:
        self._generator = np.random.Generator(randomgen.ChaCha(key=secrets.randbits(256), rounds=_ROUNDS))


class UnsafeSeededRandom(RandomSource):
    """The same stream from a fixed seed: for tests and benchmarks on public data. It protects nobody."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(randomgen.ChaCha(seed=seed, rounds=_ROUNDS))
