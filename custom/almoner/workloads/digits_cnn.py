"""Handwritten digits: a small convolutional network with bounded units and group normalisation.

Nothing is fitted to data before training: pixels are scaled by fixed numbers, and the normalisation is of each image by
itself. Bounded units (tanh) train better under clipping and noise than unbounded ones.

Reference: Papernot et al., arXiv:2007.14191, whose network this is but for the normalisation.
"""

from collections import OrderedDict
from pathlib import Path

from torch import Tensor, nn

from almoner.data.mnist import CLASSES
from almoner.training.units import UnitData
from almoner.workloads.base import Workload
from almoner.workloads.first_weights import draw_first_weights
from almoner.workloads.site_images import load_site_images

_WEIGHTS_OF = b"almoner/digits_cnn/first weights/1"
_MEAN, _DEVIATION = 0.1307, 0.3081
"""Declared scale of the pixels, as is usual for handwritten digits."""


class DigitsCnn(Workload):
    """Which digit an image shows, by a network of 26,010 weights; a unit is an image."""

    name = "digits_cnn"

    def build_model(self) -> nn.Module:
        """Build two convolutions and two linear layers.

        The first weights are bytes of SHAKE-256 of a fixed text, uniform on ±√(3/inputs of a unit); biases are 0.
        """
        model = nn.Sequential(
            OrderedDict(
                channel=nn.Unflatten(1, (1, 28)),
                conv1=nn.Conv2d(1, 16, 8, stride=2, padding=2),
                norm1=nn.GroupNorm(4, 16, affine=False),
                tanh1=nn.Tanh(),
                pool1=nn.MaxPool2d(2, 1),
                conv2=nn.Conv2d(16, 32, 4, stride=2),
                norm2=nn.GroupNorm(4, 32, affine=False),
                tanh2=nn.Tanh(),
                pool2=nn.MaxPool2d(2, 1),
                flat=nn.Flatten(),
                hidden=nn.Linear(32 * 4 * 4, 32),
                tanh3=nn.Tanh(),
                digits=nn.Linear(32, CLASSES),
            )
        )
        draw_first_weights(model, _WEIGHTS_OF)
        return model

    def load(self, path: Path) -> UnitData:
        """Load a site's `digits.npz`; see the base class for what this guarantees."""
        return load_site_images(path, _scaled)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy of each image."""
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the digit of the largest output."""
        return outputs.argmax(dim=1)


def _scaled(images: Tensor) -> Tensor:
    """Scale pixels, float32[n, 28, 28]."""
    return (images - _MEAN) / _DEVIATION
