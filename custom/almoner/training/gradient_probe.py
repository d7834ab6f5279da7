"""Tries a model's passes on made-up records, before any gradient is taken: is a record's gradient its own?

What a model's `forward` and loss do with a batch cannot be read off its layers, and libraries of matrix products do not
promise that a row's result is the same wherever the row stands. Where it is not, a record that comes or goes changes
others' gradients, by as much as their clipping allows where rounding decides. Which kernels run depends on shapes and
on the machine, not on values; so what holds for a few made-up records holds for all. It is a trial and no proof: a
model that mixes records only for certain values passes it.
"""

import copy

import torch
from torch import Tensor, nn

from almoner.errors import PolicyViolation
from almoner.training.gradient_layers import LayerGradients
from almoner.training.gradient_passes import Loss, RecordPass

_TOLERANCE = 1e-3
_SMALL = (2, 3)
_TRIALS = 16
"""Of two orders in which products of random numbers are added up, every third sum shows the difference."""


def verify_pass(taken: RecordPass, model: nn.Module, loss: Loss, rows: tuple[Tensor, Tensor], size: int) -> None:
    """Check that passes of a size give each record its own gradient, and that these add up to the batch's.

    Weights and records are made up; of the data, only the shapes are used. The weights of the pass are changed.

    Args:
        taken: how gradients are taken.
        model: is not changed.
        loss: gives one loss a record.
        rows: features and targets, Tensor[n, ...] each.
        size: records in one pass.

    Raises:
        PolicyViolation: a gradient depends on other records, or on its place; or hooks miss a part of it.
    """
    source, plain = torch.Generator().manual_seed(0), copy.deepcopy(model).train()
    try:
        for count in _SMALL:  # no other dimension of a layer's input is as long as both
            taken.run(_made_up(rows[0], source, count), _made_up(rows[1], source, count), 1)
        if taken.takes_units:
            return  # a unit fills passes of its own, always from the first place
        for _ in range(_TRIALS):
            for parameter, same in zip(taken.model.parameters(), plain.parameters(), strict=True):
                same.data.copy_(torch.randn(parameter.shape, generator=source))
                parameter.data.copy_(same.data)
            _verify_places(taken, plain, rows, size, source)
        _verify_others(taken, rows, size, source)
        _verify_sum(taken, plain, loss, (_made_up(rows[0], source, size), _made_up(rows[1], source, size)))
    except RuntimeError as error:
        raise PolicyViolation(f"model: no gradients by record → other layers ({error})".partition("\n")[0]) from None


def _verify_places(
    taken: RecordPass, plain: nn.Module, rows: tuple[Tensor, Tensor], size: int, source: torch.Generator
) -> None:
    """Compare what becomes of equal records in all places of a pass: outputs of layers, and gradients."""
    features, targets = _equal_records(rows, size, source)
    outputs: list[Tensor] = []
    taps = [layer.register_forward_hook(lambda *heard: outputs.append(heard[2].detach())) for layer in _leaves(plain)]
    with torch.no_grad():
        plain(features)
    for tap in taps:
        tap.remove()
    found = [output for output in outputs if len(output) == size] + _factors(taken.run(features, targets, size))
    if any(not torch.equal(part, part[:1].expand_as(part)) for part in found):
        raise PolicyViolation(
            f"model: on this machine a record's gradient depends on its place in a pass of {size} "
            "→ MKL_CBWR=AUTO,STRICT in the environment, or other layers"
        )


def _verify_others(taken: RecordPass, rows: tuple[Tensor, Tensor], size: int, source: torch.Generator) -> None:
    """Compare equal records before and after the first of them is changed."""
    features, targets = _equal_records(rows, size, source)
    before = _factors(taken.run(features, targets, size))
    features[:1], targets[:1] = _made_up(rows[0], source, 1), _made_up(rows[1], source, 1)
    after = _factors(taken.run(features, targets, size))
    if any(not torch.equal(part[1:], changed[1:]) for part, changed in zip(before, after, strict=True)):
        raise PolicyViolation("model: a record's gradient depends on other records → mix none in forward or loss")


def _verify_sum(taken: RecordPass, plain: nn.Module, loss: Loss, rows: tuple[Tensor, Tensor]) -> None:
    """Compare the sum of all records' gradients with one ordinary backward pass."""
    losses = loss(plain(rows[0]), rows[1])
    if losses.shape != (len(rows[0]),):
        raise PolicyViolation("model: the loss does not give one number a record → let it not add them up")
    parts = torch.autograd.grad(losses.sum(), list(plain.parameters()), allow_unused=True, materialize_grads=True)
    expected = torch.cat([part.reshape(-1) for part in parts]).to(torch.float64)
    total, ones = torch.zeros_like(expected), torch.ones(len(rows[0]), dtype=torch.float64)
    for layer in taken.run(*rows, len(rows[0])):
        layer.add_sum(total, 0, ones)
    if torch.linalg.vector_norm(total - expected) > _TOLERANCE * torch.linalg.vector_norm(expected):
        raise PolicyViolation("model: a parameter is used outside of its layer → call the layer, or own the weight")


def _leaves(model: nn.Module) -> list[nn.Module]:
    """Return the layers that have no layers inside."""
    return [layer for layer in model.modules() if next(layer.children(), None) is None]


def _equal_records(rows: tuple[Tensor, Tensor], size: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return one made-up record in every place."""
    features, targets = (_made_up(part, source, 1).expand(size, *part.shape[1:]).clone() for part in rows)
    return features, targets


def _factors(layers: list[LayerGradients]) -> list[Tensor]:
    """Return the factors of all layers."""
    return [factor for layer in layers for factor in layer.factors]


def _made_up(rows: Tensor, source: torch.Generator, count: int) -> Tensor:
    """Return records that owe nothing to the data; where numbers are indices, the first two."""
    shape = (count, *rows.shape[1:])
    if rows.is_floating_point():
        return torch.randn(shape, generator=source, dtype=rows.dtype)
    return torch.randint(0, 2, shape, generator=source).to(rows.dtype)
