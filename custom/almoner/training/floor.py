"""The noise floor: the least energy that an update with its declared noise has, from public numbers alone.

A server that reads updates (aggregation `plain` or `robust`) compares each with it. It finds a site that forgot its
noise, in models of many parameters; it binds no malicious one, who sends any other noise, and by then the server has
read the update.

Of a round with several local steps the last one's noise alone counts: what earlier steps added, the gradients of later
ones may take back.
"""

import math

from scipy.special import gammaincinv


def least_energy(deviation: float, step: float, dimension: int, significance: float) -> float:
    """Return the squared norm that noise on a grid stays below with a chance of `significance` at most.

    *Guarantee*: an update to which normal noise of `deviation` a coordinate was added, independent of all else in it,
    has less energy with at most that chance: all else only adds, and rounding takes off half a step a coordinate.

    Args:
        deviation: standard deviation of the noise in one coordinate; 0 without noise.
        step: distance of two grid points, in the same unit; values saturate at seven deviations or more.
        dimension: d.
        significance: chance that an honest update is below.

    Returns:
        In that unit squared; 0 where nothing can be said.
    """
    norm = deviation * math.sqrt(2 * float(gammaincinv(dimension / 2, significance))) - step / 2 * math.sqrt(dimension)
    return max(0.0, norm) ** 2
