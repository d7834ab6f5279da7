"""First weights of a network that are the same on every machine, and owe nothing to data."""

import hashlib
import math

import numpy as np
import torch

from almoner.training.flat import dimension


def draw_first_weights(model: torch.nn.Module, text: bytes) -> None:
    """Set a model's weights to bytes of SHAKE-256, uniform on ±√(3/inputs of a unit), and its biases to 0.

    Args:
        model: is changed in place.
        text: names the draw.
    """
    drawn = np.frombuffer(hashlib.shake_256(text).digest(dimension(model)), np.uint8)
    rest = torch.from_numpy((2.0 * drawn - 255.0).astype(np.float32) / 256.0)
    with torch.no_grad():
        for parameter in model.parameters():
            own, rest = rest[: parameter.numel()], rest[parameter.numel() :]
            if parameter.dim() > 1:
                parameter.copy_(own.reshape(parameter.shape) * math.sqrt(3 / parameter[0].numel()))
            else:
                torch.nn.init.zeros_(parameter)
