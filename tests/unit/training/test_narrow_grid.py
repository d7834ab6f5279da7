"""With few bits the grid keeps the signal: never coarser than the noise; what is then too large saturates."""

import numpy as np
import pytest

from almoner.training.grid import update_grid
from almoner.training.sampling import sample_bound


def test_sixteen_bits_hold_the_worst_case_of_a_site_of_ordinary_size():
    grid = update_grid(0.1, 0.3, 3.0, 20_000, 1, 32_767)
    assert grid.step * grid.limit > sample_bound(20_000, 0.3) * 0.1 + 8 * 3.0 * 0.1


@pytest.mark.parametrize(("bits", "loses"), [(10, 0.01), (8, 0.01), (6, 0.02)])
def test_rounding_to_a_narrow_grid_keeps_a_signal_far_below_a_step(bits, loses):
    """Of a thousand coordinates with a signal of a fifth of the noise, the mean over many rounds is what it was."""
    sigma, norm, rng = 3.0, 0.1, np.random.default_rng(bits)
    grid = update_grid(norm, 0.3, sigma, 20_000, 1, 2 ** (bits - 1) - 1)
    signal = 0.2 * sigma * norm
    sent = [grid.to_sent(signal + rng.normal(0, sigma * norm, 1000)).mean() * grid.step for _ in range(1000)]
    assert np.mean(sent) == pytest.approx(signal, rel=loses)  # standard error 0.5 %; seeded


def test_without_noise_the_worst_case_fits_however_few_bits():
    grid = update_grid(1.0, 1.0, 0.0, 1000, 2, 7)
    assert grid.step * 6 >= 2 * 1000
