"""What stops crafted weights: a site starts from weights whose digest it knows, in a model whose size it knows.

A server of Almoner hands out no weights at all: sites take every step themselves. So crafted ones would have to come in
as the first weights of a workload, or with a layer more. Each site's job process compares both with what is declared.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from almoner.errors import DataError, PolicyViolation
from almoner.redteam.reconstruction.networks import PIXELS, classification_loss, imprinting, perceptron
from almoner.training.units import UnitData
from almoner.workloads.base import Workload
from almoner.workloads.checks import verify_declaration


@dataclass(frozen=True, slots=True)
class Declared:
    """What a site knows of a model: its size, and the digest of its first weights."""

    dimension: int
    initial_weights: str


class Handed(Workload):
    """A workload around any network.

    Args:
        build: gives the network, with the same weights at every call.
    """

    name = "pictures"

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        self._build = build

    def build_model(self) -> nn.Module:
        """Build the network."""
        return self._build()

    def load(self, path: Path) -> UnitData:
        """Refuse: there is no such file."""
        raise DataError(f"{path}: this workload has no data of its own → use a workload of the registry")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy of each record."""
        return classification_loss(outputs, targets)

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the likeliest class."""
        return outputs.argmax(1)


def refusals(pictures: NDArray[np.float64], seed: int) -> dict[str, str]:
    """Show what a site says to crafted weights, and to a crafted layer in front; "" where it says nothing.

    Args:
        pictures: float64[n, 28, 28], public ones, for `imprinting`.
        seed: of the first weights.
    """
    honest = Handed(lambda: perceptron(seed))
    said = Declared(honest.dimension, honest.initial_weights)
    return {
        "the declared model": refusal(honest, said),
        "crafted weights": refusal(Handed(lambda: imprinting(pictures, seed)), said),
        "a layer in front": refusal(Handed(lambda: _with_layer(seed)), said),
    }


def refusal(workload: Workload, said: Declared) -> str:
    """Return why a site refuses a workload; "" if it does not."""
    try:
        verify_declaration(workload, workload.name, said)
    except PolicyViolation as error:
        return str(error)
    return ""


def _with_layer(seed: int) -> nn.Module:
    """Return the declared model behind one more layer, in which pictures could be sorted."""
    layer = nn.Linear(PIXELS, PIXELS)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(OrderedDict(flat=nn.Flatten(), imprint=layer, model=perceptron(seed)))
