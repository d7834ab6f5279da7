"""The clipped sum of per-unit gradients, computed in padded micro-batches.

A unit's gradient is the sum over its records. It becomes 0 if any entry is not finite, is scaled to norm
C if longer, and is cut to a fixed binary lattice towards zero, which never lengthens it. Multiples of a
power of two add up exactly in float64, so the order of the sum tells nothing.
"""

import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from torch import Tensor

from almoner.errors import PolicyViolation
from almoner.training.flat import unflatten
from almoner.training.units import UnitRecords

Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) -> Tensor[n], one loss a record."""

_LATTICE_BITS = 24
_NORM_MARGIN = 2.0**-30


def clip_unit_gradients(gradients: Tensor, max_grad_norm: float) -> Tensor:
    """Bound each row's L2 norm, and cut it to a lattice on which sums are exact.

    Guarantee: each row of the result is finite and has norm ≤ `max_grad_norm` in exact arithmetic (the
    margin of 2^-30 is larger than the rounding errors of the norm), whatever is in `gradients`. Its entries
    are multiples of 2^-24 times the power of two at or above C: up to 2^29 rows add up without rounding.

    Args:
        gradients: float64[u, d], one row a unit.
        max_grad_norm: C.
    """
    finite = torch.isfinite(gradients).all(dim=1, keepdim=True)
    gradients = torch.where(finite, gradients, torch.zeros_like(gradients))
    norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    scale = (max_grad_norm * (1 - _NORM_MARGIN) / norms).clamp(max=1.0)
    lattice = 2.0 ** (math.ceil(math.log2(max_grad_norm)) - _LATTICE_BITS)
    return torch.trunc(gradients * scale / lattice) * lattice


class UnitGradients:
    """Per-unit gradients of a model on a site's training records.

    Args:
        model: is copied; every parameter must be trainable, and no layer may mix records (BatchNorm).
        loss: gives one loss a record.
        data: the training records.
        max_grad_norm: C, the L2 bound on one unit's gradient.
        micro_batch_size: records in one forward and backward pass.
        min_micro_batches: passes made for every sample, however small: a public number.

    Raises:
        PolicyViolation: when the model has a layer or parameter without per-record gradients.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Loss,
        data: UnitRecords,
        *,
        max_grad_norm: float,
        micro_batch_size: int,
        min_micro_batches: int,
    ) -> None:
        if not all(parameter.requires_grad for parameter in model.parameters()):
            raise PolicyViolation("model: a parameter is frozen → leave it out of the model's parameters")
        try:
            self._model = GradSampleModule(copy.deepcopy(model), loss_reduction="sum")
        except NotImplementedError:
            raise PolicyViolation("model: a layer mixes records or has buffers → use GroupNorm or LayerNorm") from None
        self._loss, self._data, self._max_grad_norm = loss, data, max_grad_norm
        self._size, self._min_batches = micro_batch_size, min_micro_batches
        self._by_unit = np.argsort(data.unit, kind="stable")
        self._starts = np.searchsorted(data.unit[self._by_unit], np.arange(data.num_units + 1))
        self._model.train()

    def clipped_sum(self, weights: NDArray[np.float64], units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Sum the clipped gradients of some units.

        Guarantee: a unit adds a vector of norm ≤ C, once, whatever its number of records and their values;
        no value raises an error. A unit's own gradient is computed in the model's floating point, where its
        last bits may depend on its place in the micro-batch.

        Args:
            weights: float64[d], where the gradient is taken.
            units: int64[k], distinct units, ascending.

        Returns:
            float64[d].
        """
        unflatten(self._model, weights)
        total = torch.zeros(len(weights), dtype=torch.float64)
        open_sum = torch.zeros(1, len(weights), dtype=torch.float64)
        open_unit = -1
        for records, slots in self._micro_batches(units):
            gradients = self._record_gradients(records)
            if not len(slots):
                continue
            sums = torch.zeros(int(slots[-1] - slots[0]) + 1, len(weights), dtype=torch.float64)
            sums.index_add_(0, torch.from_numpy(slots - slots[0]), gradients)
            if slots[0] == open_unit:
                sums[:1] += open_sum
            else:
                total += clip_unit_gradients(open_sum, self._max_grad_norm).sum(0)
            total += clip_unit_gradients(sums[:-1], self._max_grad_norm).sum(0)
            open_sum, open_unit = sums[-1:], int(slots[-1])
        total += clip_unit_gradients(open_sum, self._max_grad_norm).sum(0)
        return total.numpy()

    def _micro_batches(self, units: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield record indices, and their unit's position in `units`; at least the public number of times."""
        parts = [self._by_unit[self._starts[unit] : self._starts[unit + 1]] for unit in units]
        records = np.concatenate([*parts, np.empty(0, np.int64)])
        slots = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        for batch in range(max(self._min_batches, math.ceil(len(records) / self._size))):
            own = slice(batch * self._size, (batch + 1) * self._size)
            yield records[own], slots[own]

    def _record_gradients(self, records: NDArray[np.int64]) -> Tensor:
        """Return float64[k, d], one row a record, from one pass over a batch padded with zeros."""
        index = torch.from_numpy(records)
        features = self._padded(self._data.features[index])
        outputs = self._model(features.requires_grad_(features.is_floating_point()))
        self._model.zero_grad(set_to_none=True)
        self._loss(outputs, self._padded(self._data.targets[index])).sum().backward()  # type: ignore[no-untyped-call]
        rows = []
        for _, parameter in self._model.named_parameters():
            sample = parameter.grad_sample
            sample = torch.zeros(self._size, *parameter.shape) if sample is None else sample
            rows.append(sample[: len(records)].reshape(len(records), parameter.numel()).to(torch.float64))
        self._model.zero_grad(set_to_none=True)
        return torch.cat(rows, dim=1)

    def _padded(self, rows: Tensor) -> Tensor:
        """Append rows of zeros up to the micro-batch size."""
        return torch.cat([rows, rows.new_zeros(self._size - len(rows), *rows.shape[1:])])
