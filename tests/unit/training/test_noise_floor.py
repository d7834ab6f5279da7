"""The least energy of an update with its noise: never missed by honest ones oftener than said."""

import math

import numpy as np
import pytest
from scipy.stats import chi2

from almoner.training.floor import least_energy


@pytest.mark.parametrize("dimension", [1, 17, 100_000])
def test_on_a_fine_grid_it_is_the_quantile_of_chi_square(dimension: int) -> None:
    assert least_energy(3.0, 0.0, dimension, 1e-9) == pytest.approx(9 * chi2.ppf(1e-9, dimension), rel=1e-6)


@pytest.mark.parametrize("step", [0.01, 0.5, 1.0])
@pytest.mark.parametrize("signal", [0.0, 0.4])
def test_honest_updates_are_below_it_no_oftener_than_said(step: float, signal: float) -> None:
    """Wrong once in 10^4: at 2 % of 20,000 updates, 3.7 standard errors are left."""
    noise = np.random.default_rng(1).normal(signal, 1.0, (20_000, 12))
    energies = ((np.rint(noise / step) * step) ** 2).sum(axis=1)
    share = (energies < least_energy(1.0, step, 12, 0.02)).mean()
    assert share <= 0.02 + 3.7 * math.sqrt(0.02 * 0.98 / 20_000)


def test_nothing_is_said_where_there_is_no_noise_or_the_grid_is_coarse() -> None:
    assert least_energy(0.0, 1.0, 1000, 1e-9) == 0.0
    assert least_energy(1.0, 1.0, 17, 1e-9) == 0.0
