"""The pull of one model to another: the exact minimum of a squared distance, so that any strength is stable."""

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]


def pulled(weights: Weights, centre: Weights, strength: float, learning_rate: float) -> Weights:
    """Return argmin_v |v − weights|²/(2·learning_rate) + strength/2·|v − centre|².

    For small strengths it is the usual step −learning_rate·strength·(weights − centre); where that would overshoot,
    this goes no further than to the centre. Both ends are exact: strength 0 returns the weights, infinity the centre.

    Args:
        weights: float64[d], after a step along the gradient.
        centre: float64[d], where the pull goes.
        strength: λ of the method, from 0 to infinity.
        learning_rate: of the step.
    """
    stay = 1.0 / (1.0 + learning_rate * strength)
    return stay * weights + (1.0 - stay) * centre
