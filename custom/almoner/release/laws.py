"""What the noise of a released integer may have been: its exact law, its reach, and draws from it.

Nothing here protects anybody: the law is public, and intervals are made from it after the release.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from almoner.privacy.statistics_plan import part_event, statistics_parts
from almoner.release.laplace_law import quantile
from almoner.schema.receipt import PrivacyEvent, PureRelease, ZcdpRelease
from almoner.schema.statistics import Mechanism, StatisticsSpec

_TABLE_SIGMA = 10.0
"""Below this σ the discrete Gaussian is tabled; above it, it is a rounded Gaussian to within 1e-100."""


@dataclass(frozen=True)
class NoiseLaw:
    """The law of a sum of independent integer draws, centred at 0.

    Args:
        mechanism: what one draw is.
        scale: integer Laplace: P(z) proportional to e^(-|z|/scale). Discrete Gaussian: to e^(-z²/(2 scale²)).
        num_draws: one for each site whose noise is in the sum.
    """

    mechanism: Mechanism
    scale: float
    num_draws: int = 1

    @property
    def variance(self) -> float:
        """The variance of the sum."""
        return self.num_draws * self._moments()[0]

    @property
    def fourth_cumulant(self) -> float:
        """The fourth cumulant of the sum, 0 for a Gaussian."""
        return self.num_draws * self._moments()[1]

    @lru_cache(maxsize=256)  # noqa: B019 - laws are small, frozen values
    def half_width(self, confidence: float) -> int:
        """Return the least k with P(|noise| <= k) >= confidence."""
        miss = 1 - confidence
        if self.mechanism == "integer_laplace":
            return quantile(miss, 1 / self.scale, self.num_draws)
        if self.scale >= _TABLE_SIGMA:
            return max(0, math.ceil(-float(ndtri(miss / 2)) * math.sqrt(self.variance) - 0.5))
        support, chances = self._table()
        total = chances
        for _ in range(self.num_draws - 1):
            total = np.convolve(total, chances)
        middle = len(total) // 2
        outside = 1 - total[middle] - 2 * np.concatenate([[0.0], np.cumsum(total[middle + 1 :])])
        return int(np.argmax(outside <= miss)) if len(support) > 1 else 0

    def sample(self, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        """Draw possible noises, for intervals alone; float64[size]."""
        if self.mechanism == "integer_laplace":
            success = -math.expm1(-1 / self.scale)
            one, other = (rng.negative_binomial(self.num_draws, success, size) for _ in range(2))
            return (one - other).astype(np.float64)
        if self.scale >= _TABLE_SIGMA:
            return np.rint(rng.normal(0.0, self.scale * math.sqrt(self.num_draws), size))
        support, chances = self._table()
        total: NDArray[np.float64] = rng.choice(support, (self.num_draws, size), p=chances).sum(axis=0)
        return total

    def _moments(self) -> tuple[float, float]:
        """Return variance and fourth cumulant of one draw."""
        if self.mechanism == "integer_laplace":
            p = math.exp(-1 / self.scale)
            q = -math.expm1(-1 / self.scale)
            variance = 2 * p / q**2
            return variance, 2 * p * (1 + 10 * p + p * p) / q**4 - 3 * variance**2
        if self.scale >= _TABLE_SIGMA:
            return self.scale**2, 0.0
        support, chances = self._table()
        variance = float(chances @ support**2)
        return variance, float(chances @ support**4) - 3 * variance**2

    def _table(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the values of one discrete Gaussian draw, and their probabilities."""
        reach = math.ceil(12 * self.scale) + 1
        support = np.arange(-reach, reach + 1, dtype=np.float64)
        chances = np.exp(-(support**2) / (2 * self.scale**2))
        return support, chances / chances.sum()


@dataclass(frozen=True)
class PartNoise:
    """The noise of one part of a request, and what a site's account is charged for it."""

    law: NoiseLaw
    event: PrivacyEvent


def scale_for(event: PrivacyEvent, bound: int) -> float:
    """Return the scale of noise with which numbers that one unit moves by `bound` cost an event."""
    if isinstance(event, PureRelease):
        return bound / event.epsilon
    return bound / math.sqrt(2 * event.rho) if isinstance(event, ZcdpRelease) else math.inf


def local_noise(spec: StatisticsSpec, num_sites: int = 1) -> tuple[PartNoise, ...]:
    """Return the noise of each part where every site noises its own numbers.

    Args:
        num_sites: sites whose noised numbers were added up.
    """
    found = []
    for part in statistics_parts(spec):
        event = part_event(spec, part)
        law = NoiseLaw(spec.privacy.mechanism, scale_for(event, part.bound), num_sites)
        found.append(PartNoise(law, event))
    return tuple(found)
