"""One forward and backward pass over a micro-batch, and what it tells about each record's gradient."""

import copy
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from opacus import GradSampleModule
from opacus.layers.dp_rnn import DPRNNBase, RNNLinear
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from almoner.errors import PolicyViolation
from almoner.training.gradient_layers import EmbeddingGradients, FullGradients, LayerGradients, LinearGradients

Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) -> Tensor[n], one loss a record."""

_LINEAR = (nn.Linear, RNNLinear)
_FACTORED = (*_LINEAR, nn.Embedding)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

_BYTES = 4 + 8
_BUDGET_BYTES = 32 * 2**20
_MAX_RECORDS, _RECORDS_OF_A_UNIT = 256, 16
ROWS = 32
"""Passes have a multiple of so many rows: of other numbers, the last few are computed in another way."""


class RecordPass(ABC):
    """Per-record gradients of a model.

    Args:
        model: is copied.
        loss: gives one loss a record.
    """

    takes_units = False
    """Whether a micro-batch holds records of one unit alone, and gives the sum of their gradients as one record's."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        self.model, self._loss = copy.deepcopy(model).train().requires_grad_(False), loss
        self._slots: dict[Tensor, slice] = {}
        start = 0
        for parameter in self.model.parameters():
            self._slots[parameter] = slice(start, start + parameter.numel())
            start += parameter.numel()

    @staticmethod
    def bytes_per_record(model: nn.Module) -> int:
        """Return what a record's gradient takes: each number in float32 and in float64."""
        return _BYTES * sum(parameter.numel() for parameter in model.parameters())

    @abstractmethod
    def run(self, features: Tensor, targets: Tensor, count: int) -> list[LayerGradients]:
        """Return the gradients of the first `count` records of a micro-batch, padded beyond them."""


def record_pass(model: nn.Module, loss: Loss) -> RecordPass:
    """Take a model's gradients as `pass_kind` says."""
    return pass_kind(model)(model, loss)


def pass_kind(model: nn.Module) -> type[RecordPass]:
    """Choose how a model's gradients are taken, by its layers alone.

    `HookedPass` if each parameter belongs to one layer of a type that it knows; else `SummedPass` if the model has a
    recurrent layer of torch, whose fused kernels hooks do not reach into, and vmap runs at a tenth of their speed; else
    `VmappedPass`. Hooks took a quarter less time than vmap, or better, on the benchmark's three models.

    Raises:
        PolicyViolation: when a layer has no per-record gradients.
    """
    try:
        GradSampleModule.validate(model, strict=True)
    except NotImplementedError:
        raise PolicyViolation("model: a layer mixes records or has buffers → use GroupNorm or LayerNorm") from None
    layers = [module for module in model.modules() if _own(module)]
    owners = Counter(parameter for layer in layers for parameter in _own(layer))
    if max(owners.values(), default=1) == 1 and all(map(_is_known, layers)):
        return HookedPass
    return SummedPass if any(isinstance(layer, nn.RNNBase) for layer in layers) else VmappedPass


def default_micro_batch_size(model: nn.Module, usual: int) -> int:
    """Return how many records one pass takes: a function of the model and a public number.

    It is Opacus' physical batch, without its `BatchMemoryManager`: that splits a batch by what was drawn, so that the
    number of passes, and the size of the last, tell the number of records.

    Guarantee: the gradients of one pass take at most 32 MiB, or those of 32 records, if that is more; layers
    applied at several positions of a record take as many times the 12 bytes for each of their inputs and outputs.

    Args:
        model: whose layers count.
        usual: the records that a step practically never exceeds; passes are of equal size.
    """
    kind = pass_kind(model)
    if kind is SummedPass:
        return _RECORDS_OF_A_UNIT
    largest = min(_MAX_RECORDS, max(ROWS, _BUDGET_BYTES // kind.bytes_per_record(model) // ROWS * ROWS))
    return ROWS * max(1, math.ceil(usual / math.ceil(max(usual, 1) / largest) / ROWS))


def _own(module: nn.Module) -> list[Tensor]:
    """Return a module's own parameters; Opacus' recurrent layers name as theirs what their cells hold."""
    return [] if isinstance(module, DPRNNBase) else list(module.parameters(recurse=False))


def _is_known(layer: nn.Module) -> bool:
    """Whether a layer's gradients follow from its input and the loss's gradient at its output."""
    if type(layer) is nn.Embedding:
        return layer.max_norm is None and not layer.scale_grad_by_freq and not layer.sparse
    if type(layer) in _CONVOLUTIONS:
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return type(layer) in GradSampleModule.GRAD_SAMPLERS and type(layer) is not nn.EmbeddingBag


class _Tap(torch.autograd.Function):
    """Changes nothing; hands on the gradient that passes it. The anchor puts any output into the graph."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, anchor: Tensor, keep: Callable[[Tensor], None]) -> Tensor:
        ctx.keep = keep
        ctx.mark_dirty(output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        ctx.keep(gradients[0])
        return gradients[0], None, None


class HookedPass(RecordPass):
    """Layer by layer: linear layers and embeddings as factors, others by the grad samplers of Opacus.

    The parameters take no part in the backward pass: other than in Opacus, no time goes into the gradient of the whole
    batch, which nobody may see.
    """

    @staticmethod
    def bytes_per_record(model: nn.Module) -> int:
        """Return what a record's gradient takes; linear layers and embeddings count their inputs and outputs."""
        owned = [(layer, _own(layer)) for layer in model.modules()]
        factored = [sum(own[0].shape) for layer, own in owned if own and type(layer) in _FACTORED]
        full = [part.numel() for layer, own in owned if type(layer) not in _FACTORED for part in own]
        return _BYTES * (sum(factored) + sum(full))

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__(model, loss)
        self._anchor = torch.zeros((), requires_grad=True)
        self._terms: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {}
        for module in self.model.modules():
            if _own(module):
                self._terms[module] = []
                module.register_forward_hook(self._tap)

    def _tap(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Let the backward pass keep the layer's input, and the loss's gradient at its output."""
        keep = partial(self._keep, layer, inputs[0].detach(), inputs[0]._version)
        tapped: Tensor = _Tap.apply(output, self._anchor, keep)  # type: ignore[no-untyped-call]
        return tapped

    def _keep(self, layer: nn.Module, inputs: Tensor, version: int, gradient: Tensor) -> None:
        if inputs._version != version:
            raise PolicyViolation("model: a layer's input is changed in place → let it make a new tensor")
        self._terms[layer].append((inputs, gradient))

    def run(self, features: Tensor, targets: Tensor, count: int) -> list[LayerGradients]:
        """See `RecordPass`."""
        self._loss(self.model(features), targets).sum().backward()  # type: ignore[no-untyped-call]
        made = []
        for layer, terms in self._terms.items():
            if any(len(inputs) != len(features) for inputs, _ in terms):
                raise PolicyViolation("model: a layer's input has not one row a record → put the records first")
            if terms and count:
                made.append(self._gradients(layer, [(inputs[:count], outputs[:count]) for inputs, outputs in terms]))
            terms.clear()
        return made

    def _gradients(self, layer: nn.Module, terms: list[tuple[Tensor, Tensor]]) -> LayerGradients:
        """Return one layer's gradients, from its terms' inputs and gradients."""
        if isinstance(layer, _LINEAR):
            bias = None if layer.bias is None else self._slots[layer.bias]
            inputs, outputs = _positions([term[0] for term in terms], 1), _positions([term[1] for term in terms], 1)
            return LinearGradients(inputs, outputs, self._slots[layer.weight], bias)
        if isinstance(layer, nn.Embedding):
            inputs, outputs = _positions([term[0] for term in terms], 0), _positions([term[1] for term in terms], 1)
            return EmbeddingGradients(inputs, outputs, self._slots[layer.weight], layer.padding_idx)
        layer.requires_grad_(True)
        sampler = _convolution if isinstance(layer, _CONVOLUTIONS) else GradSampleModule.GRAD_SAMPLERS[type(layer)]
        samples = [sampler(layer, [inputs], outputs) for inputs, outputs in terms]
        layer.requires_grad_(False)
        return FullGradients([(self._slots[part], _sum([sample[part] for sample in samples])) for part in samples[0]])


class VmappedPass(RecordPass):
    """Each record's gradient in full, of any model that `torch.func.vmap` can batch."""

    def run(self, features: Tensor, targets: Tensor, count: int) -> list[LayerGradients]:
        """See `RecordPass`."""
        parameters: dict[str, Tensor] = dict(self.model.named_parameters())

        def loss(parameters: dict[str, Tensor], record: Tensor, target: Tensor) -> Tensor:
            outputs = functional_call(self.model, parameters, (record[None],))
            return self._loss(outputs, target[None]).sum()

        each = vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")
        rows = each(parameters, features, targets)
        return [FullGradients([(self._slots[part], rows[name][:count]) for name, part in parameters.items()])]


class SummedPass(RecordPass):
    """The gradient of a unit's records together, by one ordinary backward pass: of any model.

    For units of many records it is the fastest way, and takes no more memory than training without privacy.
    """

    takes_units = True

    def run(self, features: Tensor, targets: Tensor, count: int) -> list[LayerGradients]:
        """See `RecordPass`."""
        parameters = list(self.model.requires_grad_(True).parameters())
        loss = self._loss(self.model(features), targets)[:count].sum()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        rows = zip(parameters, gradients, strict=True)
        return [FullGradients([(self._slots[parameter], row[None]) for parameter, row in rows])]


def _convolution(layer: Any, inputs: list[Tensor], outputs: Tensor) -> dict[Tensor, Tensor]:
    """Return a convolution's gradients as those of one with each record in a group of its own.

    Opacus unfolds the input, which takes the kernel's size times its memory, and up to twice as long.
    """
    count, weight = len(outputs), layer.weight.detach()
    own, theirs = inputs[0].flatten(0, 1)[None], outputs.flatten(0, 1)[None]
    shape = (count * weight.shape[0], *weight.shape[1:])
    geometry = (layer.stride, layer.padding, layer.dilation, False, [0] * len(layer.stride))
    rows = torch.ops.aten.convolution_backward(
        theirs, own, weight.new_empty(1).expand(shape), None, *geometry, layer.groups * count, (False, True, False)
    )[1]
    samples = {layer.weight: rows.reshape(count, *weight.shape)}
    return samples if layer.bias is None else samples | {layer.bias: outputs.flatten(2).sum(2)}


def _sum(rows: list[Tensor]) -> Tensor:
    """Return the sum of at least one tensor; one is not copied."""
    return rows[0] if len(rows) == 1 else torch.stack(rows).sum(0)


def _positions(factors: list[Tensor], trailing: int) -> Tensor:
    """Return Tensor[k, l, ...] of several Tensor[k, any positions, ...], with one trailing dimension or none."""
    parts = [factor.reshape(len(factor), -1, *factor.shape[factor.dim() - trailing :]) for factor in factors]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
