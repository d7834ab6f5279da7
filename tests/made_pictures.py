"""Pictures made of a few strokes, no two alike; a federation's worth of them."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from almoner.training.units import UnitRecords


def made_pictures(count: int, seed: int = 0) -> UnitRecords:
    """Return pictures of three blurred strokes each, on black, of different brightness."""
    rng = np.random.default_rng(seed)
    pictures = np.zeros((count, 28, 28))
    for picture in pictures:
        for _ in range(3):
            start, end = rng.uniform(4, 24, (2, 2))
            places = np.rint(start + np.linspace(0, 1, 40)[:, None] * (end - start)).astype(int)
            picture[places[:, 0], places[:, 1]] = 1.0
        picture[:] = gaussian_filter(picture, rng.uniform(0.5, 1.2))
        picture /= picture.max()
    return UnitRecords(
        torch.from_numpy(pictures).float(), torch.from_numpy(rng.integers(0, 10, count)), np.arange(count)
    )
