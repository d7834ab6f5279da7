"""How like a picture a reconstruction is: PSNR, SSIM, and when a picture counts as told."""

import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from almoner.data.mnist import SIDE
from almoner.data.prepare import prepare_sites
from almoner.data.registry import MNIST
from almoner.training.units import UnitRecords
from almoner.workloads.site_images import load_site_images

Picture = NDArray[np.float64]
"""Grey values from 0 to 1, float64[28, 28]."""

MIN_PSNR = 20.0
MIN_SSIM = 0.5

_WINDOW = 7
_STABLE = (0.01**2, 0.03**2)
_MOST_PSNR = 100.0


def psnr(first: Picture, second: Picture) -> float:
    """Return the peak signal-to-noise ratio in dB, of values from 0 to 1; at most 100."""
    error = float(np.mean((first - second) ** 2))
    return _MOST_PSNR if error <= 10 ** (-_MOST_PSNR / 10) else -10 * math.log10(error)


def ssim(first: Picture, second: Picture) -> float:
    """Return the mean structural similarity over windows of 7 × 7 pixels, of values from 0 to 1.

    Reference: Wang et al., IEEE Transactions on Image Processing 13 (2004), with a uniform window and unbiased
    covariances, as in scikit-image.
    """
    unbiased = _WINDOW**2 / (_WINDOW**2 - 1)
    means = uniform_filter(first, _WINDOW), uniform_filter(second, _WINDOW)
    own = [
        unbiased * (uniform_filter(picture**2, _WINDOW) - mean**2)
        for picture, mean in zip((first, second), means, strict=True)
    ]
    joint = unbiased * (uniform_filter(first * second, _WINDOW) - means[0] * means[1])
    likeness = (2 * means[0] * means[1] + _STABLE[0]) * (2 * joint + _STABLE[1])
    likeness /= (means[0] ** 2 + means[1] ** 2 + _STABLE[0]) * (own[0] + own[1] + _STABLE[1])
    edge = _WINDOW // 2
    return float(likeness[edge:-edge, edge:-edge].mean())


def is_breached(truth: Picture, found: Picture) -> bool:
    """Say whether a reconstruction tells the picture: PSNR above 20 dB and SSIM above 0.5."""
    return psnr(truth, found) > MIN_PSNR and ssim(truth, found) > MIN_SSIM


def closest(truth: Picture, found: NDArray[np.float64]) -> Picture:
    """Return the reconstruction that is nearest to a picture; the attacker is granted that it knows which.

    Args:
        truth: the picture.
        found: float64[k, 28, 28]; of none, a grey picture is returned.
    """
    if not len(found):
        return np.full_like(truth, 0.5)
    nearest: Picture = found[int(((found - truth) ** 2).sum(axis=(1, 2)).argmin())]
    return nearest


def public_digits(cache: Path) -> UnitRecords:
    """Load the registered MNIST's test images, which are public, as float32[n, 28, 28] with their labels.

    Args:
        cache: folder that keeps the archive.

    Raises:
        DataError: it cannot be fetched.
    """
    with tempfile.TemporaryDirectory(prefix="almoner-pictures-") as folder:
        paths = prepare_sites(MNIST, cache, Path(folder))
        parts = [load_site_images(path, _grey).test for _, path in sorted(paths.items())]
    features = torch.cat([part.features for part in parts])
    return UnitRecords(features, torch.cat([part.targets for part in parts]), np.arange(len(features)))


def _grey(images: torch.Tensor) -> torch.Tensor:
    return images.reshape(-1, SIDE, SIDE).float()
