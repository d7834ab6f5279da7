"""Trainers that do not do what they claim: the real one, handed other randomness or other public numbers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from almoner.training.noise import RandomSource, UnsafeSeededRandom

_LOOSE = 16.0
"""Clipping at 16 C cuts no canary of norm 10 C."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break the claim.

    Args:
        name: as in reports.
        source: what the trainer's randomness is replaced by.
        loosening: the trainer clips at so many times C, with the noise that C asks for.
    """

    name: str
    source: Callable[[RandomSource], RandomSource] = lambda source: source
    loosening: float = 1.0


class _Faulty(RandomSource):
    """A source that hands on what another one draws; subclasses spoil it."""

    def __init__(self, inner: RandomSource) -> None:
        self._inner = inner

    def gaussian_integers(self, scale: float, size: int) -> NDArray[np.int64]:
        """Draw as the other source does."""
        return self._inner.gaussian_integers(scale, size)

    def discrete_gaussian(self, sigma: float, size: int) -> NDArray[np.int64]:
        """Draw as the other source does."""
        return self._inner.discrete_gaussian(sigma, size)

    def uniform_integers(self, size: int) -> NDArray[np.int64]:
        """Draw as the other source does."""
        return self._inner.uniform_integers(size)


class _Quiet(_Faulty):
    """Less noise than asked for."""

    def __init__(self, inner: RandomSource, share: float) -> None:
        super().__init__(inner)
        self._share = share

    def gaussian_integers(self, scale: float, size: int) -> NDArray[np.int64]:
        """Draw with a share of the standard deviation."""
        return super().gaussian_integers(scale * self._share, size)

    def discrete_gaussian(self, sigma: float, size: int) -> NDArray[np.int64]:
        """Draw with a share of the standard deviation; zeros for none."""
        share = sigma * self._share
        return super().discrete_gaussian(share, size) if share else np.zeros(size, dtype=np.int64)


class _Greedy(_Faulty):
    """A sample four times as large."""

    def uniform_integers(self, size: int) -> NDArray[np.int64]:
        """Draw integers of a quarter of their size, so that four times as many are below a threshold."""
        return super().uniform_integers(size) >> 2


class _Stuck(_Faulty):
    """The same noise in every step."""

    def gaussian_integers(self, scale: float, size: int) -> NDArray[np.int64]:
        """Draw what was drawn before."""
        return UnsafeSeededRandom(0).gaussian_integers(scale, size)

    def discrete_gaussian(self, sigma: float, size: int) -> NDArray[np.int64]:
        """Draw what was drawn before."""
        return UnsafeSeededRandom(0).discrete_gaussian(sigma, size)


HONEST = Fault("honest")
FAULTS = (
    Fault("no noise", lambda source: _Quiet(source, 0.0)),
    Fault("half noise", lambda source: _Quiet(source, 0.5)),
    Fault("no clipping", loosening=_LOOSE),
    Fault("4x sampling", _Greedy),
    Fault("same noise in each step", _Stuck),
)
"""What an audit must find."""
