"""Distribution of training noise and samples. Seeded, so each test passes always or never; with fresh
randomness each would fail by chance with probability 1e-6, stated as ALPHA."""

import numpy as np
import pytest
import torch
from scipy import stats

from almoner.training.dp_sgd import DpSgdTrainer
from almoner.training.grid import UpdateGrid
from almoner.training.noise import UnsafeSeededRandom
from almoner.training.sampling import poisson_sample
from almoner.training.units import UnitRecords

ALPHA = 1e-6
DRAWS = 400_000


@pytest.mark.parametrize("scale", [0.4, 3.0, 50.0])
def test_integer_noise_has_the_probabilities_of_a_rounded_gaussian(scale: float) -> None:
    """Chi-square over all integers within four deviations, and the two tails."""
    noise = UnsafeSeededRandom(11).gaussian_integers(scale, DRAWS)
    edge = max(1, int(4 * scale))
    borders = np.arange(-edge, edge) + 0.5
    expected = DRAWS * np.diff(stats.norm.cdf(borders / scale), prepend=0.0, append=1.0)
    observed = np.bincount(np.searchsorted(borders, noise), minlength=len(expected))
    assert stats.chisquare(observed, expected).pvalue > ALPHA


def test_integer_noise_moments() -> None:
    """Mean 0, variance σ² + 1/12 (Sheppard), no correlation between neighbours in the stream."""
    noise = UnsafeSeededRandom(12).gaussian_integers(7.0, DRAWS).astype(np.float64)
    z = stats.norm.isf(ALPHA / 2)
    variance = 7.0**2 + 1 / 12
    assert abs(noise.mean()) < z * np.sqrt(variance / DRAWS)
    assert abs(noise.var() / variance - 1) < z * np.sqrt(2 / DRAWS)
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < z / np.sqrt(DRAWS)


@pytest.mark.parametrize("sampling_prob", [0.01, 0.5, 0.9])
def test_poisson_rate_of_each_unit_and_spread_of_sizes(sampling_prob: float) -> None:
    source, rounds, units = UnsafeSeededRandom(13), 4000, 100
    samples = [poisson_sample(source, sampling_prob, units) for _ in range(rounds)]
    per_unit = np.bincount(np.concatenate(samples), minlength=units)
    expected = rounds * sampling_prob
    statistic = ((per_unit - expected) ** 2).sum() / (expected * (1 - sampling_prob))
    assert ALPHA / 2 < stats.chi2.sf(statistic, units) < 1 - ALPHA / 2
    sizes = np.array([len(sample) for sample in samples])
    spread = ((sizes - units * sampling_prob) ** 2).sum() / (units * sampling_prob * (1 - sampling_prob))
    assert ALPHA / 2 < stats.chi2.sf(spread, rounds) < 1 - ALPHA / 2


def _trainer(records: UnitRecords, noise_multiplier: float, seed: int, **changes: float) -> DpSgdTrainer:
    model = torch.nn.Sequential(torch.nn.Linear(16, 1), torch.nn.Flatten(0))
    return DpSgdTrainer(
        model,
        lambda outputs, targets: (outputs - targets) ** 2,
        records,
        noise_multiplier=noise_multiplier,
        max_grad_norm=2.0,
        sampling_prob=changes.get("sampling_prob", 0.5),
        local_steps=int(changes.get("local_steps", 1)),
        learning_rate=0.1,
        nominal_records=10,
        grid=UpdateGrid(0.5, 2**40),
        rng=UnsafeSeededRandom(seed),
    )


def test_a_round_without_data_is_noise_of_the_claimed_size() -> None:
    """σ·(C + step·√d) with C=2, step=1/2, d=17; local steps add up. A σ·C would be off by half."""
    nobody = UnitRecords(torch.zeros(0, 16), torch.zeros(0), np.empty(0, np.int64))
    trainer = _trainer(nobody, 3.0, seed=14, local_steps=2)
    draws = np.concatenate([trainer.run_round(np.zeros(17)) for _ in range(400)]) * 0.5
    claimed = 2 * ((3.0 * (2.0 + 0.5 * np.sqrt(17))) ** 2 + 0.5**2 / 12)
    statistic = (draws**2).sum() / claimed
    assert ALPHA / 2 < stats.chi2.sf(statistic, len(draws)) < 1 - ALPHA / 2


def test_a_unit_is_drawn_with_its_probability_however_many_records_it_has() -> None:
    """Two units with 1 and 20 records and orthogonal gradients; noise is negligible beside them."""
    features = torch.zeros(21, 16)
    features[0, 0] = 10.0
    features[1:, 1] = 10.0
    data = UnitRecords(features, torch.ones(21), np.array([0] + [1] * 20))
    trainer = _trainer(data, 1e-3, seed=15, sampling_prob=0.3)
    rounds = 600
    sums = np.array([trainer.run_round(np.zeros(17)) for _ in range(rounds)]) * 0.5
    for coordinate in (0, 1):
        drawn = int((sums[:, coordinate] < -1.0).sum())
        assert stats.binomtest(drawn, rounds, 0.3).pvalue > ALPHA
        assert set(np.unique(sums[:, coordinate])) <= {0.0, -2.0}
