"""Handwritten digits: a linear classifier on scattering features, which are fixed.

The features are computed once, when a site's file is read. Each image's are normalised by themselves: of 27 groups of
three maps, each gets mean 0 and a variance near 1, or less where hardly anything is to be seen. Then they are centred
and partly whitened by made-up strokes, which are much like handwriting: the strokes' mean is taken away, and the
directions in which strokes differ most are shrunk to the next one's spread. What tells digits apart is then less hidden
by what all handwriting does, so fewer noisy steps are needed. No figure is taken from data: it costs no privacy.

Reference: Tramèr, Boneh, arXiv:2011.11660.
"""

from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from almoner.data.mnist import CLASSES
from almoner.training.units import UnitData
from almoner.workloads.base import Workload
from almoner.workloads.scattering import MAP_SIDE, NUM_MAPS, scatter
from almoner.workloads.site_images import load_site_images
from almoner.workloads.strokes import made_up_strokes

NUM_FEATURES = NUM_MAPS * MAP_SIDE**2
NUM_GROUPS = 27
NUM_STROKES = 1000
NUM_SHRUNK = 40


class DigitsScattering(Workload):
    """Which digit an image shows, by multinomial regression on 3,969 wavelet features; a unit is an image."""

    name = "digits_scattering"

    def build_model(self) -> torch.nn.Module:
        """Build a linear layer with bias; all weights are 0."""
        linear = torch.nn.Linear(NUM_FEATURES, CLASSES)
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
        return torch.nn.Sequential(OrderedDict(linear=linear))

    def load(self, path: Path) -> UnitData:
        """Load a site's `digits.npz`; see the base class for what this guarantees."""
        return load_site_images(path, features_of)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy of each image."""
        return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the digit of the largest output."""
        return outputs.argmax(dim=1)


def features_of(images: Tensor) -> Tensor:
    """Return the features of images, float32[n, 3969].

    Args:
        images: float32[n, 28, 28], from 0 to 1.
    """
    centre, directions, changes = _handwriting()
    features = _normalised(images).sub_(centre)
    return features.addmm_(features @ directions, changes)


@lru_cache(maxsize=1)
def _handwriting() -> tuple[Tensor, Tensor, Tensor]:
    """Return what made-up strokes tell: mean float32[3969], directions float32[3969, k], changes float32[k, 3969].

    A change is what is added for a direction's coordinate, so that it is shrunk.
    """
    features = _normalised(made_up_strokes(NUM_STROKES))
    centre = features.mean(dim=0)
    deviations = (features - centre).double()
    variances, combinations = torch.linalg.eigh(deviations @ deviations.T)
    directions = torch.nn.functional.normalize(deviations.T @ combinations[:, -NUM_SHRUNK:], dim=0)
    shrinkage = (variances[-NUM_SHRUNK - 1] / variances[-NUM_SHRUNK:]).sqrt() - 1
    return centre, directions.float(), (directions * shrinkage).T.float()


def _normalised(images: Tensor) -> Tensor:
    """Return scattering features, normalised image by image."""
    return torch.nn.functional.group_norm(scatter(images), NUM_GROUPS).flatten(1)
