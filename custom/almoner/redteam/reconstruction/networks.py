"""The networks that pictures are taken out of, and the weights that a malicious server would hand out for it.

None is a workload of Almoner: `perceptron` begins with a linear layer, from whose gradient inputs can be read off, and
`convolutions` is the small network with smooth units on which gradient matching is known to work.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from almoner.data.mnist import CLASSES, SIDE

HIDDEN = 256
PIXELS = SIDE * SIDE
_CHANNELS = 12
_SPREAD = 0.5


def perceptron(seed: int) -> nn.Module:
    """Return 784-256-10 with ReLU, and torch's own first weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))


def convolutions(seed: int) -> nn.Module:
    """Return three convolutions with sigmoids and a linear layer; first weights uniform on ±0.5.

    Reference: Zhu, Liu, Han, arXiv:1906.08935 (the LeNet that gradients leak from).
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Unflatten(1, (1, SIDE)),
            nn.Conv2d(1, _CHANNELS, 5, stride=2, padding=2),
            nn.Sigmoid(),
            nn.Conv2d(_CHANNELS, _CHANNELS, 5, stride=2, padding=2),
            nn.Sigmoid(),
            nn.Conv2d(_CHANNELS, _CHANNELS, 5, stride=1, padding=2),
            nn.Sigmoid(),
            nn.Flatten(),
            nn.Linear(_CHANNELS * (SIDE // 4) ** 2, CLASSES),
        )
        for parameter in model.parameters():
            nn.init.uniform_(parameter, -_SPREAD, _SPREAD)
    return model


def imprinting(pictures: NDArray[np.float64], seed: int) -> nn.Module:
    """Return `perceptron` with weights that sort pictures into bins by brightness, so that gradients give them back.

    Every hidden unit measures the mean brightness and fires above its own threshold, a quantile over public pictures;
    all units have the same outgoing weights. The gradients of two neighbouring units then differ by those pictures
    alone whose brightness lies between the two thresholds.

    Args:
        pictures: float64[n, 28, 28], public ones; the quantiles are theirs.
        seed: of the outgoing weights.

    Reference: Fowl et al., arXiv:2110.13057.
    """
    model = perceptron(seed)
    first, last = model[1], model[3]  # type: ignore[index]
    brightness = pictures.reshape(len(pictures), -1).mean(axis=1)
    thresholds = np.quantile(brightness, np.arange(HIDDEN) / HIDDEN)
    with torch.no_grad():
        first.weight.fill_(1 / PIXELS)
        first.bias.copy_(torch.from_numpy(-thresholds))
        last.weight.copy_(last.weight[:, :1].expand_as(last.weight))
    return model


def classification_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross entropy of each record."""
    return nn.functional.cross_entropy(outputs, targets, reduction="none")
