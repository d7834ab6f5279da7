"""A model's parameters as one flat float64 vector, in the order of `named_parameters`."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from almoner.errors import ProtocolError

_PIECE = 2**15


def pieces(size: int) -> Iterator[slice]:
    """Yield slices that cut a long vector up: what several steps make of one stays in the processor's cache."""
    return (slice(start, start + _PIECE) for start in range(0, size, _PIECE))


def dimension(model: torch.nn.Module) -> int:
    """Return d, the number of all parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def flatten(model: torch.nn.Module) -> NDArray[np.float64]:
    """Copy a model's parameters into one vector, float64[d]."""
    parts = [parameter.detach().to(torch.float64).reshape(-1) for _, parameter in model.named_parameters()]
    return torch.cat(parts).cpu().numpy()


def unflatten(model: torch.nn.Module, weights: NDArray[np.float64]) -> None:
    """Set a model's parameters from one vector; each is cast to its parameter's type.

    Args:
        model: is changed in place.
        weights: float64[d].

    Raises:
        ProtocolError: when the vector's shape or type is not that of the model.
    """
    check_weights(weights, dimension(model))
    flat = torch.from_numpy(np.ascontiguousarray(weights))
    start = 0
    with torch.no_grad():
        for _, parameter in model.named_parameters():
            part = flat[start : start + parameter.numel()]
            parameter.copy_(part.reshape(parameter.shape))
            start += parameter.numel()


def check_weights(weights: NDArray[np.float64], size: int) -> None:
    """Check that a vector from outside is float64[size].

    Raises:
        ProtocolError: when it is not.
    """
    if weights.dtype != np.float64 or weights.shape != (size,):
        raise ProtocolError(
            f"weights: {weights.dtype}{list(weights.shape)} instead of float64[{size}] → send the model of this job"
        )
