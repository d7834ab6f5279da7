"""Layers that make one record's gradient depend on others, by their type.

Opacus' own validation looks at trainable layers with buffers alone: a BatchNorm without parameters
(`affine=False`), or one without buffers (`track_running_stats=False`), passes it and mixes the records of a batch.
"""

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from almoner.errors import PolicyViolation


def verify_layers(model: torch.nn.Module) -> None:
    """Check that no layer is of a type that mixes records, and that none has a buffer, which could remember them.

    Dropout draws from torch's generator, which is no secret, and for places in a batch: what is dropped of a record
    would depend on how many come before it. What a model's own `forward` does with a batch is not seen here, but
    tried by `gradient_probe`.

    Raises:
        PolicyViolation: one is, or a parameter is frozen or not float32.
    """
    for name, layer in model.named_modules():
        kind = type(layer).__name__
        if isinstance(layer, _BatchNorm) or next(layer.buffers(recurse=False), None) is not None:
            raise PolicyViolation(
                f"model: layer {name} ({kind}) mixes records or has buffers → use GroupNorm or LayerNorm"
            )
        if isinstance(layer, _DropoutNd) and layer.p > 0:
            raise PolicyViolation(f"model: layer {name} ({kind}) draws for places in a batch → leave it out")
    if not all(parameter.requires_grad for parameter in model.parameters()):
        raise PolicyViolation("model: a parameter is frozen → leave it out of the model's parameters")
    if any(parameter.dtype != torch.float32 for parameter in model.parameters()):
        raise PolicyViolation("model: a parameter is not float32 → convert the model with .float()")
