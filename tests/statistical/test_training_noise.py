"""Distribution of training noise and samples. Seeded, so each test passes always or never; with fresh
randomness each would fail by chance with probability 1e-6, stated as ALPHA."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy import stats

from almoner.training.dp_sgd import DpSgdTrainer
from almoner.training.grid import UpdateGrid, update_grid
from almoner.training.noise import RandomSource, SecureRandom, UnsafeSeededRandom
from almoner.training.sampling import poisson_sample
from almoner.training.units import UnitRecords

ALPHA = 1e-6
DRAWS = 400_000


class _Keyed(SecureRandom):
    """The secure source with a key that is known, so that tests always pass or never."""

    def __init__(self, seed: int) -> None:
        self._stream = Cipher(algorithms.AES(seed.to_bytes(16)), modes.CTR(bytes(16))).encryptor()


SOURCES = pytest.mark.parametrize("source", [_Keyed, UnsafeSeededRandom])


@SOURCES
@pytest.mark.parametrize("scale", [0.4, 3.0, 50.0])
def test_integer_noise_has_the_probabilities_of_a_rounded_gaussian(
    source: Callable[[int], RandomSource], scale: float
) -> None:
    """Chi-square over all integers within four deviations, and the two tails."""
    noise = source(11).gaussian_integers(scale, DRAWS)
    edge = max(1, int(4 * scale))
    borders = np.arange(-edge, edge) + 0.5
    expected = DRAWS * np.diff(stats.norm.cdf(borders / scale), prepend=0.0, append=1.0)
    observed = np.bincount(np.searchsorted(borders, noise), minlength=len(expected))
    assert stats.chisquare(observed, expected).pvalue > ALPHA


@SOURCES
def test_noise_on_a_fine_lattice_is_normal(source: Callable[[int], RandomSource]) -> None:
    """Kolmogorov-Smirnov; and the tails beyond four deviations, which it hardly sees, hold what they should."""
    noise = source(17).gaussian_integers(2.0**26, DRAWS) / 2.0**26
    assert stats.kstest(noise, "norm").pvalue > ALPHA
    for sign in (1, -1):
        assert stats.binomtest(int((sign * noise > 4).sum()), DRAWS, stats.norm.sf(4)).pvalue > ALPHA


def test_the_two_numbers_of_a_pair_are_independent() -> None:
    """Chi-square over 20 by 20 equally likely squares; the halves of a draw are each other's pairs."""
    noise = _Keyed(18).gaussian_integers(2.0**26, DRAWS) / 2.0**26
    first, second = (stats.norm.cdf(noise).reshape(2, -1) * 20).astype(np.int64)
    assert stats.chisquare(np.bincount(20 * first + second, minlength=400)).pvalue > ALPHA


@SOURCES
def test_integer_noise_moments(source: Callable[[int], RandomSource]) -> None:
    """Mean 0, variance σ² + 1/12 (Sheppard), no correlation between neighbours in the stream."""
    noise = source(12).gaussian_integers(7.0, DRAWS).astype(np.float64)
    z = stats.norm.isf(ALPHA / 2)
    variance = 7.0**2 + 1 / 12
    assert abs(noise.mean()) < z * np.sqrt(variance / DRAWS)
    assert abs(noise.var() / variance - 1) < z * np.sqrt(2 / DRAWS)
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < z / np.sqrt(DRAWS)


@SOURCES
@pytest.mark.parametrize("sampling_prob", [0.01, 0.5, 0.9])
def test_poisson_rate_of_each_unit_and_spread_of_sizes(
    source: Callable[[int], RandomSource], sampling_prob: float
) -> None:
    drawn, rounds, units = source(13), 4000, 100
    samples = [poisson_sample(drawn, sampling_prob, units) for _ in range(rounds)]
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
    """σ·C with C=2, on a grid of step 1/2; local steps add up. Noise for C + step·√d, d=17, would be double."""
    nobody = UnitRecords(torch.zeros(0, 16), torch.zeros(0), np.empty(0, np.int64))
    trainer = _trainer(nobody, 3.0, seed=14, local_steps=2)
    draws = np.concatenate([trainer.run_round(np.zeros(17)) for _ in range(400)]) * 0.5
    claimed = 2 * (3.0 * 2.0) ** 2 + 0.5**2 / 12
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


class _Wide(torch.nn.Module):
    """A linear model of so many parameters, one record's gradient along one of them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(size, 1, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear(features).flatten()  # type: ignore[no-any-return]


def test_a_wide_model_gets_the_noise_that_is_claimed_and_no_more() -> None:
    """d=40,000 on the coarse grid of a job: σ·C, to within a thousandth. Noise for C + g·√d would be 41 % more.

    Twenty rounds, 800,000 draws: the deviation of the estimate is 0.08 %, so bounds of 1 ∓ 0.001 plus five of it hold
    but for a chance of 1e-6; a σ off by 0.8 % is found.
    """
    size, norm, sigma = 40_000, 1.0, 2.0
    grid = update_grid(norm, 1.0, sigma, 200, 1)
    assert sigma * grid.sensitivity(norm, size) > 1.4 * sigma * norm, "what the old noise would be"
    trainer = DpSgdTrainer(
        _Wide(size),
        lambda outputs, targets: outputs - targets,
        UnitRecords(torch.zeros(0, size), torch.zeros(0), np.empty(0, np.int64)),
        noise_multiplier=sigma,
        max_grad_norm=norm,
        sampling_prob=1.0,
        local_steps=1,
        learning_rate=0.1,
        nominal_records=200,
        grid=grid,
        rng=UnsafeSeededRandom(16),
    )
    draws = np.concatenate([trainer.run_round(np.zeros(size)) for _ in range(20)]) * grid.step
    found = np.sqrt((draws**2).mean() - grid.step**2 / 12) / (sigma * norm)
    five_deviations = 5 / np.sqrt(2 * len(draws))
    assert 1 - five_deviations < found < 1.001 + five_deviations
    assert np.abs(draws).max() < (grid.limit - 1) * grid.step, "nothing saturates"
