"""Where the randomness of privacy comes from: AES-128 in counter mode, as OpenSSL computes it.

numpy's and torch's own generators can be predicted from their output; noise and samples that an
adversary can predict protect nobody.
"""

import secrets
from abc import ABC, abstractmethod

import numpy as np
import randomgen
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from almoner.privacy.exact_gaussian import exact_gaussian

UNIFORM_BITS = 53
_KEY_BYTES, _WORD_BYTES, _WORDS_PER_BLOCK = 16, 8, 2
_ROUNDS = 20


class RandomSource(ABC):
    """Draws what a private mechanism needs. Take `SecureRandom`; a key is never shared by two sources."""

    _generator: np.random.Generator

    def gaussian_integers(self, scale: float, size: int) -> NDArray[np.int64]:
        """Draw a normal distribution rounded to integers.

        Guarantee: each entry is `round(N(0, scale²))`, drawn in double precision. Added to integers, it
        has the distribution of the Gaussian mechanism's output rounded to the lattice: rounding commutes with
        adding an integer, and is post-processing. What a float64 sampler tells by its lowest bits
        (Mironov, CCS 2012) is rounded away; it is not a sampler of the exact discrete Gaussian. `SecureRandom`'s
        normals miss exact ones by less than 2^-49 `scale` on average (`normals`): about the chance that an entry is
        another integer than an exact one rounds to. A job's values leave rounded to its own grid, some 2^16 steps
        coarser; that they are others has 2^-16 of that chance.

        Args:
            scale: standard deviation before rounding, in steps; up to 2^40.
            size: how many.
        """
        drawn = self._normals(scale, size)
        return np.rint(drawn, out=drawn).astype(np.int64)

    def _normals(self, scale: float, size: int) -> NDArray[np.float64]:
        """Draw a normal distribution: numpy's ziggurat."""
        return self._generator.normal(0.0, scale, size)

    @abstractmethod
    def discrete_gaussian(self, sigma: float, size: int) -> NDArray[np.int64]:
        """Draw a discrete Gaussian: integers with chances proportional to exp(-x²/(2σ²)).

        Args:
            sigma: σ, in steps.
            size: how many.
        """

    def uniform_integers(self, size: int) -> NDArray[np.int64]:
        """Draw integers that are uniform on [0, 2^53)."""
        return self._generator.integers(0, 2**UNIFORM_BITS, size)


class SecureRandom(RandomSource):
    """AES-128 in counter mode, with a fresh key from the operating system."""

    def __init__(self) -> None:
        self._stream = Cipher(algorithms.AES(secrets.token_bytes(_KEY_BYTES)), modes.CTR(bytes(_KEY_BYTES))).encryptor()

    def uniform_integers(self, size: int) -> NDArray[np.int64]:
        """Draw integers that are uniform on [0, 2^53)."""
        return (self._words(size) >> (64 - UNIFORM_BITS)).astype(np.int64)

    def discrete_gaussian(self, sigma: float, size: int) -> NDArray[np.int64]:
        """Draw the exact discrete Gaussian."""
        return exact_gaussian(sigma, size, self.uniform_integers, self._below)

    def _normals(self, scale: float, size: int) -> NDArray[np.float64]:
        """Draw a normal distribution, of a word each."""
        from almoner.training.normals import box_muller  # torch takes a second, which who only decides need not wait

        return box_muller(self._words(size + size % 2), scale)[:size]

    def _below(self, bound: int, size: int) -> NDArray[np.int64]:
        """Draw integers that are uniform on [0, bound): words that would favour some are drawn again."""
        words, last = self._words(size), 2**64 // bound * bound - 1
        while len(unfair := np.flatnonzero(words > last)):
            words[unfair] = self._words(len(unfair))
        return (words % np.uint64(bound)).astype(np.int64)

    def _words(self, size: int) -> NDArray[np.uint64]:
        """Take uniform words off the key stream."""
        words = np.empty(size + _WORDS_PER_BLOCK, np.uint64)
        self._stream.update_into(bytes(_WORD_BYTES * size), words.view(np.uint8).data)
        return words[:size]


class UnsafeSeededRandom(RandomSource):
    """A ChaCha20 key stream from a fixed seed: for tests and benchmarks on public data. It protects nobody."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(randomgen.ChaCha(seed=seed, rounds=_ROUNDS))

    def discrete_gaussian(self, sigma: float, size: int) -> NDArray[np.int64]:
        """Draw a normal distribution rounded to integers: figures of seeded runs were measured with it."""
        return self.gaussian_integers(sigma, size)
