"""The scattering transform: against its definition in space, against kymatio's numbers, and how it moves."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from almoner.workloads.scattering import NUM_MAPS, scatter

KYMATIO = {
    (0, 0, 0): 0.184762,
    (0, 3, 4): 0.537704,
    (1, 0, 6): 0.028748,
    (4, 3, 3): 0.029486,
    (8, 5, 1): 0.069147,
    (9, 2, 2): 0.030827,
    (13, 6, 6): 0.026996,
    (16, 3, 0): 0.023749,
    (17, 1, 1): 0.011955,
    (30, 3, 5): 0.003664,
    (57, 4, 4): 0.008201,
    (80, 6, 0): 0.004538,
}
"""Values of kymatio 0.3 (Scattering2D(J=2, shape=(28, 28))) on `picture(1)`, by map, row and column."""


def picture(seed: int) -> NDArray[np.float64]:
    """A picture of all frequencies, between 0 and 1, by whole numbers alone."""
    y, x = np.mgrid[:28, :28]
    return np.asarray((y * y * (6 + seed) + x * 13 + x * y * 5 + seed * x * x * x) % 256 / 255, dtype=np.float64)


def as_batch(*pictures: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).float()


def slow_morlet(sigma: float, frequency: float, theta: float, points: NDArray[np.int64]) -> NDArray[np.complex128]:
    """ψ(u) = g(u) (e^{iξu} − β) over a plane of points, its mean zero, with an envelope twice as long across."""
    y, x = points[:, None], points[None, :]
    along, across = x * math.sin(theta) + y * math.cos(theta), x * math.cos(theta) - y * math.sin(theta)
    envelope = np.exp(-(along**2 + across**2 / 4) / (2 * sigma**2)) / (4 * math.pi * sigma**2)
    wave = envelope * np.exp(1j * frequency * along)
    return np.asarray(wave - envelope * wave.sum() / envelope.sum())


def slow_convolve(image: NDArray[np.float64], kernel: NDArray[np.complex128], reach: int) -> NDArray[np.complex128]:
    """Circular convolution by its definition: Σ_v kernel(v) image(u − v)."""
    found = np.zeros(image.shape, complex)
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            found += kernel[i + reach, j + reach] * np.roll(image, (i, j), axis=(0, 1))
    return found


REACH = 16
POINTS = np.arange(-REACH, REACH + 1)
GAUSSIAN = np.exp(-(POINTS**2) / (2 * 1.6**2)) / (math.sqrt(2 * math.pi) * 1.6)


def slow_wavelet(image: NDArray[np.float64], scale: int, angle: int) -> NDArray[np.float64]:
    kernel = slow_morlet(0.8 * scale, 3 * math.pi / 4 / scale, (3 - angle) * math.pi / 8, POINTS)
    return np.abs(slow_convolve(image, kernel, REACH))


def slow_average(image: NDArray[np.float64]) -> NDArray[np.float64]:
    return slow_convolve(image, np.outer(GAUSSIAN, GAUSSIAN).astype(complex), REACH).real[4:32:4, 4:32:4]


def test_maps_are_wavelet_modulus_and_average() -> None:
    """By sums over pixels. What averages a coarse map leaves out its highest frequencies, hence the wide tolerance."""
    image = picture(2)
    padded = np.pad(image, 4, mode="reflect")
    made = scatter(as_batch(image))[0].numpy()
    assert made[0] == pytest.approx(slow_average(padded), abs=1e-4)
    for angle in range(8):
        assert made[1 + angle] == pytest.approx(slow_average(slow_wavelet(padded, 1, angle)), abs=1e-4)
        coarse = slow_average(slow_wavelet(padded, 2, angle))
        assert np.abs(made[9 + angle] - coarse).max() < 0.05 * coarse.max()
    for first, second in ((0, 0), (3, 5), (6, 1)):
        both = slow_average(slow_wavelet(slow_wavelet(padded, 1, first), 2, second))
        assert np.abs(made[17 + 8 * first + second] - both).max() < 0.05 * both.max()


def test_numbers_of_kymatio() -> None:
    """Within 1 in 10,000: kymatio takes π for 3.1415 in one place, once an order."""
    made = scatter(as_batch(picture(1)))[0]
    for (number, row, column), value in KYMATIO.items():
        assert float(made[number, row, column]) == pytest.approx(value, abs=1e-4 * value + 1e-6)


def test_an_image_is_transformed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    images = as_batch(*(picture(seed) for seed in range(5)))
    together = scatter(images)
    assert together.shape == (5, NUM_MAPS, 7, 7)
    monkeypatch.setattr("almoner.workloads.scattering._BATCH", 2)
    assert scatter(images[[3]]).numpy() == pytest.approx(together[[3]].numpy(), abs=1e-6)
    assert scatter(images).numpy() == pytest.approx(together.numpy(), abs=1e-6)
    assert scatter(images[:0]).shape == (0, NUM_MAPS, 7, 7)


def test_brightness_scales_and_ground_vanishes() -> None:
    """Twice the contrast doubles every map; a constant has no wavelet coefficients."""
    image = picture(4)
    once, twice, flat = scatter(as_batch(image, 2 * image, np.full((28, 28), 0.7)))
    assert twice.numpy() == pytest.approx(2 * once.numpy(), rel=1e-4, abs=1e-6)
    assert flat[0].numpy() == pytest.approx(np.full((7, 7), 0.7), abs=1e-3)
    assert float(flat[1:].abs().max()) < 1e-5


def test_a_stroke_that_moves_a_pixel_moves_maps_less_than_pixels() -> None:
    still = np.zeros((28, 28))
    still[6:22, 13:15] = 1.0
    moved = np.roll(still, 1, axis=1)
    one, other = scatter(as_batch(still, moved))
    of_maps = float((one - other).norm() / one.norm())
    assert of_maps < 0.5 * np.linalg.norm(still - moved) / np.linalg.norm(still)


def test_a_quarter_turn_permutes_angles() -> None:
    """Turned by 90° about the middle map point, pixel 12, wavelet k becomes wavelet k + 4."""
    image = np.zeros((28, 28))
    image[8:19, 10:14] = picture(1)[8:19, 10:14]
    turned = np.zeros((28, 28))
    turned[:25, :25] = np.rot90(image[:25, :25], axes=(1, 0))
    one, other = scatter(as_batch(image, turned)).numpy()
    for angle in range(8):
        swung = np.rot90(one[1 + angle], axes=(1, 0))
        assert other[1 + (angle + 4) % 8] == pytest.approx(swung, abs=1e-3)
        assert swung.max() > 0.02
