"""The vector sampler has the law of the discrete Gaussian, and OpenDP's: each test fails by chance once in 10^6."""

import numpy as np
import pytest
from scipy.stats import chi2, ks_2samp

from almoner.privacy.discrete_gaussian import discrete_gaussian
from almoner.privacy.exact_gaussian import exact_gaussian
from almoner.training.noise import SecureRandom, UnsafeSeededRandom

DRAWS, CHANCE = 200_000, 1e-6


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.7, 64.0])
def test_law(sigma: float) -> None:
    source = UnsafeSeededRandom(11)
    below = source._generator.integers
    drawn = exact_gaussian(sigma, DRAWS, source.uniform_integers, lambda bound, size: below(0, bound, size))
    reach = int(12 * sigma) + 2
    values = np.arange(-reach, reach + 1)
    chances = np.exp(-(values**2) / (2 * sigma**2))
    expected = DRAWS * chances / chances.sum()
    counts = np.bincount(drawn + reach, minlength=len(values)).astype(float)
    enough = expected >= 10
    seen = np.append(counts[enough], counts[~enough].sum())
    hoped = np.append(expected[enough], max(expected[~enough].sum(), 1e-9))
    used = hoped >= 5
    statistic = float((((seen - hoped) ** 2 / hoped)[used]).sum())
    assert statistic < chi2.isf(CHANCE, int(used.sum()) - 1)
    assert seen[~used].sum() <= 40


def test_same_law_as_opendp() -> None:
    """Neither can be seeded here; wide, so that ties hardly matter."""
    ours, theirs = SecureRandom().discrete_gaussian(5_000.0, 20_000), discrete_gaussian(5_000.0, 20_000)
    assert ks_2samp(ours, theirs).pvalue > CHANCE
