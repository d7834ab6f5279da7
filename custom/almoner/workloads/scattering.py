"""The scattering transform of small images: fixed wavelets, moduli and averages; nothing in it is learned.

An image of 28 × 28 pixels is padded by reflection to 36 × 36 and becomes 81 maps of 7 × 7: its average, the averages
of |x ⋆ ψ| for Morlet wavelets at two scales and eight angles, and those of ||x ⋆ ψ₁| ⋆ ψ₂| for the 64 pairs of a fine
and a coarse one. Filters and order of the maps are those of kymatio 0.3 (J=2, L=8, max_order=2).

The transform of an image is a function of this image alone.

Reference: Bruna, Mallat, arXiv:1203.1513; Andreux et al., arXiv:1812.11214.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

SIDE = 28
"""Pixels a side of an image."""

MAP_SIDE = 7
NUM_ANGLES = 8
NUM_MAPS = 1 + 2 * NUM_ANGLES + NUM_ANGLES**2

_PADDING = 4
_PADDED = SIDE + 2 * _PADDING
_HALF = _PADDED // 2
_SIGMA = 0.8
_FREQUENCY = 3 * math.pi / 4
_SLANT = 4 / NUM_ANGLES
_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class _Filters:
    """What images are multiplied with.

    Args:
        fine, coarse: Fourier transforms of the wavelets of a scale, float32[8, 36, 36]; a quarter of the coarse ones.
        average, half_average: low-pass and subsample a side of 36 or 18 points to 7, float32[7, 36 or 18].
    """

    fine: Tensor
    coarse: Tensor
    average: Tensor
    half_average: Tensor


def scatter(images: Tensor) -> Tensor:
    """Transform images.

    Args:
        images: float32[n, 28, 28], also of none.

    Returns:
        float32[n, 81, 7, 7]: the average, 8 fine and 8 coarse maps, then for each fine wavelet its 8 coarse ones.
    """
    out = images.new_empty(len(images), NUM_MAPS, MAP_SIDE, MAP_SIDE)
    for start in range(0, len(images), _BATCH):
        _scatter_batch(images[start : start + _BATCH], out[start : start + _BATCH])
    return out


def _scatter_batch(images: Tensor, out: Tensor) -> None:
    """Transform a batch into `out`."""
    filters = _filters()
    padded = torch.nn.functional.pad(images[:, None], (_PADDING,) * 4, mode="reflect")
    spectrum = torch.fft.fft2(padded)
    fine = _modulus(torch.fft.ifft2(spectrum * filters.fine))
    out[:, :1] = _averaged(padded, filters.average)
    out[:, 1 : 1 + NUM_ANGLES] = _averaged(fine, filters.average)
    spectra = torch.cat([spectrum, torch.fft.fft2(fine)], dim=1)
    for number, wavelet in enumerate(filters.coarse):
        coarse = _averaged(_modulus(torch.fft.ifft2(_folded(spectra * wavelet))), filters.half_average)
        out[:, 1 + NUM_ANGLES + number] = coarse[:, 0]
        out[:, 1 + 2 * NUM_ANGLES + number :: NUM_ANGLES] = coarse[:, 1:]


def _modulus(values: Tensor) -> Tensor:
    """Return absolute values; several times as fast as `abs`."""
    parts = torch.view_as_real(values)
    real, imaginary = parts[..., 0], parts[..., 1]
    return torch.addcmul(real * real, imaginary, imaginary).sqrt_()


def _folded(spectrum: Tensor) -> Tensor:
    """Return four times the spectrum of every second point a side, complex64[..., 18, 18]."""
    rows = spectrum[..., :_HALF, :] + spectrum[..., _HALF:, :]
    return rows[..., :_HALF] + rows[..., _HALF:]


def _averaged(maps: Tensor, average: Tensor) -> Tensor:
    """Low-pass and subsample both sides of maps; a Gaussian is a product of two."""
    return average @ (maps @ average.T)


@lru_cache(maxsize=1)
def _filters() -> _Filters:
    """Make all filters, in double precision first."""
    fine, coarse = (torch.stack([_morlet(scale, angle) for angle in range(NUM_ANGLES)]) for scale in (1, 2))
    average, half_average = _average(_PADDED), _average(_HALF)
    return _Filters(fine.float(), (coarse / 4).float(), average.float(), half_average.float())


def _offsets() -> Tensor:
    """Return the coordinates of five periods, float64[5, 36]; summing over the first makes a filter periodic."""
    return torch.arange(-2 * _PADDED, 3 * _PADDED, dtype=torch.float64).reshape(5, _PADDED)


def _morlet(scale: int, angle: int) -> Tensor:
    """Return the Fourier transform of a Morlet wavelet, float64[36, 36]: a wave in an oblong Gaussian, of mean 0."""
    theta = (NUM_ANGLES // 2 - 1 - angle) * math.pi / NUM_ANGLES
    sigma, frequency = _SIGMA * scale, _FREQUENCY / scale
    x, y = _offsets()[:, None, :, None], _offsets()[None, :, None, :]
    along, across = x * math.cos(theta) + y * math.sin(theta), y * math.cos(theta) - x * math.sin(theta)
    envelope = torch.exp(-(along**2 + (_SLANT * across) ** 2) / (2 * sigma**2))
    envelope = envelope / (2 * math.pi * sigma**2 / _SLANT)
    wave = (envelope * torch.exp(1j * frequency * along)).sum((0, 1))
    resting = envelope.sum((0, 1))
    spectrum: Tensor = torch.fft.fft2(wave - wave.sum() / resting.sum() * resting)
    return spectrum.real


def _average(side: int) -> Tensor:
    """Return the matrix that averages 36 points a side, or every second of them, around the 7 points of a map."""
    sigma = 2 * _SIGMA
    gaussian = torch.exp(-(_offsets() ** 2) / (2 * sigma**2)).sum(0) / (math.sqrt(2 * math.pi) * sigma)
    spectrum = torch.fft.fft(gaussian).real
    kept = torch.cat([spectrum[: side // 2], spectrum[_PADDED - side // 2 :]])
    kernel: Tensor = torch.fft.ifft(kept).real
    stride = side // (MAP_SIDE + 2)
    places = stride * torch.arange(1, MAP_SIDE + 1)[:, None] - torch.arange(side)
    return kernel[places % side]
