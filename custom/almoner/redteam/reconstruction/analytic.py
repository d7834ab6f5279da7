"""Pictures read off the gradient of a first linear layer: exact where a hidden unit saw one picture alone."""

import numpy as np
from numpy.typing import NDArray

from almoner.data.mnist import SIDE
from almoner.redteam.reconstruction.networks import HIDDEN, PIXELS

_LEAST = 1e-9


def invert_layer(update: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one candidate picture for each hidden unit that was active, float64[k, 28, 28] from 0 to 1.

    The gradient of a unit's weights is Σ δᵢ xᵢ over the batch, that of its bias Σ δᵢ: their ratio is x if one picture
    alone made the unit fire, else a weighted mean of several.

    Args:
        update: float64[d], a sum of gradients of `networks.perceptron`.

    Reference: Geiping et al., arXiv:2003.14053, Proposition 3.1.
    """
    return _candidates(*_first_layer(update))


def invert_imprint(update: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one candidate for each bin of `networks.imprinting`: from the differences of neighbouring units.

    Reference: Fowl et al., arXiv:2110.13057.
    """
    weights, biases = _first_layer(update)
    return _candidates(
        weights - np.concatenate([weights[1:], np.zeros((1, PIXELS))]), biases - np.append(biases[1:], 0.0)
    )


def _first_layer(update: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the gradients of the first layer's weights, float64[256, 784], and of its biases."""
    return update[: HIDDEN * PIXELS].reshape(HIDDEN, PIXELS), update[HIDDEN * PIXELS : HIDDEN * (PIXELS + 1)]


def _candidates(weights: NDArray[np.float64], biases: NDArray[np.float64]) -> NDArray[np.float64]:
    active = np.abs(biases) > _LEAST * max(1.0, float(np.abs(biases).max()))
    found: NDArray[np.float64] = np.clip(weights[active] / biases[active, None], 0.0, 1.0)
    return found.reshape(-1, SIDE, SIDE)
