"""Poisson sampling of units, and how large a sample is by public numbers alone."""

import math

import numpy as np
from numpy.typing import NDArray

from almoner.training.noise import UNIFORM_BITS, RandomSource

_TAIL_SIGMAS = 8.0


def poisson_sample(source: RandomSource, sampling_prob: float, num_units: int) -> NDArray[np.int64]:
    """Draw a Poisson sample: each unit is in it independently of all others.

    Guarantee: a unit's probability is `sampling_prob` rounded down to a multiple of 2^-53, so never above
    what is accounted for. Whether a unit is drawn does not depend on how many records it has.

    Args:
        source: the randomness.
        sampling_prob: in (0, 1].
        num_units: how many units there are to draw from.

    Returns:
        The drawn units' indices, ascending; possibly none.
    """
    threshold = int(sampling_prob * 2**UNIFORM_BITS)
    return np.flatnonzero(source.uniform_integers(num_units) < threshold)


def sample_bound(nominal_units: int, sampling_prob: float) -> int:
    """Return a size that a Poisson sample of `nominal_units` units practically never exceeds.

    It is the mean and eight standard deviations, at most `nominal_units`. It only sizes things (padding,
    the grid); no privacy claim rests on it.
    """
    mean = nominal_units * sampling_prob
    deviation = math.sqrt(mean * (1 - sampling_prob))
    return min(nominal_units, math.ceil(mean + _TAIL_SIGMAS * deviation))
