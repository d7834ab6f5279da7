"""The clipped sum of per-unit gradients, computed in padded micro-batches.

A unit's gradient is the sum over its records. It becomes 0 if anything in it is not finite, and is scaled to a norm
below C if longer. How a model's gradients are taken is chosen in `gradient_passes`; why the sum as computed is within C
stands in `gradient_clipping`.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from almoner.training.flat import dimension, unflatten
from almoner.training.gradient_clipping import RunningSum, check_sizes, clipping_factors
from almoner.training.gradient_layers import LayerGradients
from almoner.training.gradient_passes import ROWS, Loss, default_micro_batch_size, record_pass
from almoner.training.gradient_probe import verify_pass
from almoner.training.layers import verify_layers
from almoner.training.units import UnitRecords

__all__ = ["Loss", "UnitGradients", "default_micro_batch_size"]


class UnitGradients:
    """Per-unit gradients of a model on a site's training records.

    Args:
        model: is copied; every parameter must be trainable, and no layer may mix records (BatchNorm).
        loss: gives one loss a record.
        data: the training records.
        max_grad_norm: C, the L2 bound on one unit's gradient.
        micro_batch_size: records in one forward and backward pass, rounded up to a multiple of 32 unless a pass is
            of one unit.
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
        verify_layers(model)
        check_sizes(dimension(model), max_grad_norm, micro_batch_size, min_micro_batches)
        self._pass = record_pass(model, loss)
        rows = 1 if self._pass.takes_units else ROWS
        self._size, self._min_batches = rows * math.ceil(micro_batch_size / rows), min_micro_batches
        verify_pass(self._pass, model, loss, (data.features, data.targets), self._size)
        self._data, self._max_grad_norm = data, max_grad_norm
        self._by_unit = np.argsort(data.unit, kind="stable")
        self._starts = np.searchsorted(data.unit[self._by_unit], np.arange(data.num_units + 1))

    def clipped_sum(self, weights: NDArray[np.float64], units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Sum the clipped gradients of some units.

        Guarantee: adding or removing a unit, with any number of records of any values, moves the returned sum by at
        most C in L2 norm, its rounding included; proven in `gradient_clipping` for samples of up to 2^20 units. No
        value raises an error. A unit's gradient, as the model's float32 arithmetic gives it, is a function of its
        records alone: libraries of matrix products do not promise that for each row, so it is tried at construction,
        and passes have a multiple of 32 rows, or are of one unit. Passes have a fixed size, and their number is the
        public one or larger.

        Args:
            weights: float64[d], where the gradient is taken.
            units: int64[k], distinct units, ascending.

        Returns:
            float64[d].
        """
        unflatten(self._pass.model, weights)
        total, spread = RunningSum(len(weights)), _SpreadUnit(len(weights), self._max_grad_norm)
        passes, rows, starts = self._plan(units)
        for batch, records in enumerate(passes):
            first, last = batch * rows, min((batch + 1) * rows, int(starts[-1]))
            found = self._run(records)
            if found is None:
                continue
            total.expect(found.products + 1)
            inside = starts[(first <= starts) & (starts <= last)] - first
            before, after = (inside[0], inside[-1]) if len(inside) else (last - first, last - first)
            if before > 0:
                spread.add(found, 0, before)
            if len(inside) > 0:
                spread.close(total)
                self._add_whole(total, found, inside)
            if after < last - first:
                spread.add(found, after, last - first)
        return total.total().numpy()

    def _plan(self, units: NDArray[np.int64]) -> tuple[list[NDArray[np.int64]], int, NDArray[np.int64]]:
        """Return the records of each pass, how many rows a full pass gives, and the rows at which units start and end.

        A row is a record, or all records of a unit in one pass. Empty passes make up the public number.
        """
        parts = [self._by_unit[self._starts[unit] : self._starts[unit + 1]] for unit in units]
        together = parts if self._pass.takes_units else [np.concatenate([*parts, np.empty(0, np.int64)])]
        passes = [part[at : at + self._size] for part in together for at in range(0, len(part), self._size)]
        lengths = np.array([len(part) for part in parts], np.int64)
        rows, fewest = self._size, self._min_batches
        if self._pass.takes_units:
            lengths, rows, fewest = -(-lengths // self._size), 1, self._min_batches * self._size
        passes += [np.empty(0, np.int64)] * (fewest - len(passes))
        return passes, rows, np.concatenate([[0], np.cumsum(lengths)])

    def _add_whole(self, total: RunningSum, found: "_MicroBatch", starts: NDArray[np.int64]) -> None:
        """Add the clipped gradients of the units that lie in one micro-batch with all of their records."""
        if len(starts) < 2:
            return
        counts = torch.from_numpy(np.diff(starts))
        unit = torch.arange(len(counts)).repeat_interleave(counts)
        masses = torch.zeros(len(counts), dtype=torch.float64)
        masses.index_add_(0, unit, found.masses[int(starts[0]) : int(starts[-1])])
        factors = clipping_factors(found.squared_norms(starts), masses, self._max_grad_norm)
        found.add_sum(total, int(starts[0]), factors[unit])

    def _run(self, records: NDArray[np.int64]) -> "_MicroBatch | None":
        """Make one pass over records, padded with zeros to the micro-batch size; None if there are none."""
        index = torch.from_numpy(records)
        features, targets = self._data.features[index], self._data.targets[index]
        layers = self._pass.run(_padded(features, self._size), _padded(targets, self._size), len(records))
        rows = 1 if self._pass.takes_units else len(records)
        return _MicroBatch(layers, rows) if len(records) else None


class _MicroBatch:
    """The gradients of a micro-batch's records; what is not finite is zero, and has a mass that is not."""

    def __init__(self, layers: list[LayerGradients], count: int) -> None:
        self.layers = layers
        self.products = max((layer.products for layer in layers), default=0)
        nothing = torch.zeros(count, dtype=torch.float64)
        self.masses = torch.linalg.vector_norm(torch.stack([nothing, *(layer.masses for layer in layers)]), dim=0)
        for layer in layers:
            layer.drop(~torch.isfinite(self.masses))

    def squared_norms(self, starts: NDArray[np.int64]) -> Tensor:
        """Return the squared norms of the gradients of units, over all layers."""
        nothing = torch.zeros(len(starts) - 1, dtype=torch.float64)
        return torch.stack([nothing, *(layer.squared_norms(starts) for layer in self.layers)]).sum(0)

    def add_sum(self, total: RunningSum, first: int, factors: Tensor) -> None:
        """Add a weighted sum over some records that follow each other."""
        for layer in self.layers:
            layer.add_sum(total.open, first, factors)


class _SpreadUnit:
    """A unit whose records are spread over several micro-batches."""

    def __init__(self, dimension: int, max_grad_norm: float) -> None:
        self._dimension, self._max_grad_norm = dimension, max_grad_norm
        self._sum: RunningSum | None = None
        self._mass = torch.zeros((), dtype=torch.float64)

    def add(self, found: _MicroBatch, first: int, last: int) -> None:
        """Add some of its records."""
        if self._sum is None:
            self._sum = RunningSum(self._dimension)
        self._mass = self._mass + found.masses[first:last].sum()
        self._sum.expect(found.products)
        found.add_sum(self._sum, first, torch.ones(last - first, dtype=torch.float64))

    def close(self, total: RunningSum) -> None:
        """Add the unit, clipped, to the total, if there is one."""
        if self._sum is None:
            return
        gradient = self._sum.total()
        factor = clipping_factors(gradient.square().sum(), self._mass, self._max_grad_norm)
        total.open.add_(gradient, alpha=float(factor))
        self._sum, self._mass = None, torch.zeros_like(self._mass)


def _padded(rows: Tensor, size: int) -> Tensor:
    """Append rows of zeros up to the micro-batch size."""
    if len(rows) == size:
        return rows
    return torch.cat([rows, rows.new_zeros(size - len(rows), *rows.shape[1:])])
