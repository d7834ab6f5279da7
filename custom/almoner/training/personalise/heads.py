"""The last layer of a model by itself: what fine-tuning tunes.

The layers before it are fixed, so that to train the last one is to train a small model on features that are a function
of one record and of released weights. Clipping, noise and grid are then those of the small model: no noise falls on
weights that stay, and the norm of a gradient is not filled by parts that nobody uses.
"""

from dataclasses import dataclass

import torch

from almoner.errors import PolicyViolation
from almoner.training.flat import unflatten
from almoner.training.personalise.pull import Weights
from almoner.training.units import UnitRecords

_RECORDS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class HeadSplit:
    """A model in two parts; `head(body(x))` is the model, and the body's weights come first in the flat vector."""

    body: torch.nn.Module
    head: torch.nn.Module


def split_head(model: torch.nn.Module, weights: Weights) -> HeadSplit:
    """Cut a model with given weights before its last layer that has any; a model of one layer is all head.

    Args:
        model: a `torch.nn.Sequential`; its weights are replaced.
        weights: float64[d].

    Raises:
        PolicyViolation: when the model is no Sequential, or has no weights.
        ProtocolError: when the weights do not fit the model.
    """
    layers = list(model.children())
    trained = [index for index, layer in enumerate(layers) if any(True for _ in layer.parameters())]
    if not isinstance(model, torch.nn.Sequential) or not trained:
        raise PolicyViolation("model: has no last layer to tune → build it as a torch.nn.Sequential of layers")
    unflatten(model, weights)
    return HeadSplit(torch.nn.Sequential(*layers[: trained[-1]]), torch.nn.Sequential(*layers[trained[-1] :]))


def features_of(body: torch.nn.Module, records: UnitRecords) -> UnitRecords:
    """Return the records as the head sees them; each is a function of one record alone, and stays with its unit."""
    if not len(list(body.children())):
        return records
    body.eval()
    with torch.no_grad():
        batches = [body(batch) for batch in torch.split(records.features, _RECORDS_AT_ONCE)]
    return UnitRecords(torch.cat(batches), records.targets, records.unit)
