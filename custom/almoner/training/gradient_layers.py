"""One layer's gradients of the records of one micro-batch: their norms, and their weighted sum.

A linear layer's gradient of a record is Σ p xᵀ over the positions that it is applied to, x being the layer's input
there and p the loss's gradient at its output. Neither the norm of such a sum nor a weighted sum over records needs
the product of each record: the trick of ghost clipping (Goodfellow, arXiv:1510.01799; Li et al., arXiv:2110.05679),
here without its second backward pass, and with all factors in hand before anything is summed. For errors see
`gradient_clipping`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from almoner.errors import PolicyViolation
from almoner.training.gradient_clipping import FLUSH, MAX_ROWS

Slot = slice
"""Where a parameter lies in the flat gradient."""


class LayerGradients(ABC):
    """What clipping needs from a layer. Records are numbered 0 … k−1; those of a unit follow each other.

    Args:
        masses: float64[k], the sum of the norms of a record's terms; not finite if and only if a factor is not.
        length: the positions of a record.
    """

    def __init__(self, masses: Tensor, length: int) -> None:
        self.masses, self._length = masses, length
        self.products = math.ceil(len(masses) * length / MAX_ROWS)
        if self.products > FLUSH // 2:
            raise PolicyViolation(
                f"model: a layer is applied at {length} positions of each of {len(masses)} records "
                f"→ shorter sequences, or a smaller micro_batch_size ({MAX_ROWS * FLUSH // 2} in all)"
            )

    @property
    @abstractmethod
    def factors(self) -> list[Tensor]:
        """What the gradients are made of: Tensor[k, ...] each, one row a record."""

    @abstractmethod
    def squared_norms(self, starts: NDArray[np.int64]) -> Tensor:
        """Return the squared norms of units' gradients, float64[u]; of non-finite ones, anything.

        Args:
            starts: int64[u+1], the units' first records, and the one after the last.
        """

    @abstractmethod
    def drop(self, records: Tensor) -> None:
        """Set the factors of some records to zero; bool[k]."""

    @abstractmethod
    def add_sum(self, total: Tensor, first: int, factors: Tensor) -> None:
        """Add a weighted sum of gradients to the flat vector, float64[d].

        Args:
            total: is changed in place.
            first: the first record that takes part.
            factors: float64[m], what that and the following records are multiplied by.
        """


class LinearGradients(LayerGradients):
    """Of a linear layer, as factors.

    Args:
        inputs: Tensor[k, l, in].
        outputs: Tensor[k, l, out], gradients of the loss.
        weight, bias: where they lie.
    """

    def __init__(self, inputs: Tensor, outputs: Tensor, weight: Slot, bias: Slot | None) -> None:
        self._inputs = inputs.reshape(-1, inputs.shape[-1]).to(torch.float64)
        self._outputs = outputs.reshape(-1, outputs.shape[-1]).to(torch.float64)
        self._weight, self._bias = weight, bias
        lengths = torch.linalg.vector_norm(self._inputs, dim=1).square() + self._constant
        rows = torch.linalg.vector_norm(self._outputs, dim=1) * lengths.sqrt()
        super().__init__(rows.reshape(len(outputs), -1).sum(1), outputs.shape[1])

    @property
    def _constant(self) -> float:
        """The bias is the weight of one more input that is 1."""
        return 0.0 if self._bias is None else 1.0

    @property
    def factors(self) -> list[Tensor]:
        """See `LayerGradients`."""
        return [rows.reshape(-1, self._length * rows.shape[1]) for rows in (self._inputs, self._outputs)]

    def squared_norms(self, starts: NDArray[np.int64]) -> Tensor:
        """See `LayerGradients`."""
        counts = np.diff(starts) * self._length
        squares = self.masses[torch.from_numpy(starts[:-1])].square()
        for count in np.unique(counts[counts > 1]):
            units = np.flatnonzero(counts == count)
            rows = torch.from_numpy(starts[units, None] * self._length + np.arange(count))
            squares[torch.from_numpy(units)] = self._squares(self._inputs[rows], self._outputs[rows])
        return squares

    def _squares(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Return the squared norms of [u, m, in] and [u, m, out]: by Gram matrices, or products if they are smaller."""
        (_, count, width), height = inputs.shape, outputs.shape[-1]
        if count * (width + height) <= width * height:
            return ((outputs @ outputs.mT) * (inputs @ inputs.mT + self._constant)).sum((1, 2))
        weights = [(left.T @ right).square().sum() for left, right in zip(outputs, inputs, strict=True)]
        return torch.stack(weights) + self._constant * outputs.sum(1).square().sum(1)

    def drop(self, records: Tensor) -> None:
        """See `LayerGradients`."""
        rows = _rows_of(records, self._length)
        self._inputs.index_fill_(0, rows, 0.0)
        self._outputs.index_fill_(0, rows, 0.0)

    def add_sum(self, total: Tensor, first: int, factors: Tensor) -> None:
        """See `LayerGradients`."""
        weight = total[self._weight].view(self._outputs.shape[1], self._inputs.shape[1])
        for rows, scale in _products(first, factors, self._length):
            scaled = self._outputs[rows] * scale
            weight.addmm_(scaled.T, self._inputs[rows])
            if self._bias is not None:
                total[self._bias] += scaled.sum(0)


class EmbeddingGradients(LayerGradients):
    """Of an embedding: the input of a position is 1 at its index and 0 elsewhere.

    Args:
        indices: int64[k, l].
        outputs: Tensor[k, l, e], gradients of the loss.
        weight: where it lies.
        padding: the index whose row is not trained, if any.
    """

    def __init__(self, indices: Tensor, outputs: Tensor, weight: Slot, padding: int | None) -> None:
        self._indices = indices.reshape(-1)
        self._outputs = outputs.reshape(-1, outputs.shape[-1]).to(torch.float64)
        self._weight = weight
        if padding is not None:
            self._outputs[self._indices == padding] = 0.0
        rows = torch.linalg.vector_norm(self._outputs, dim=1)
        super().__init__(rows.reshape(len(outputs), -1).sum(1), outputs.shape[1])

    @property
    def factors(self) -> list[Tensor]:
        """See `LayerGradients`."""
        return [self._outputs.reshape(-1, self._length * self._outputs.shape[1])]

    def squared_norms(self, starts: NDArray[np.int64]) -> Tensor:
        """See `LayerGradients`."""
        counts = torch.from_numpy(np.diff(starts) * self._length)
        unit = torch.arange(len(counts)).repeat_interleave(counts)
        own = slice(int(starts[0]) * self._length, int(starts[-1]) * self._length)
        pairs, place = torch.unique(torch.stack([unit, self._indices[own]]), dim=1, return_inverse=True)
        sums = _sums(place, self._outputs[own], pairs.shape[1])
        return torch.zeros(len(counts), dtype=torch.float64).index_add_(0, pairs[0], sums.square().sum(1))

    def drop(self, records: Tensor) -> None:
        """See `LayerGradients`."""
        self._outputs.index_fill_(0, _rows_of(records, self._length), 0.0)

    def add_sum(self, total: Tensor, first: int, factors: Tensor) -> None:
        """See `LayerGradients`."""
        weight = total[self._weight].view(-1, self._outputs.shape[1])
        for rows, scale in _products(first, factors, self._length):
            indices, place = torch.unique(self._indices[rows], return_inverse=True)
            weight.index_add_(0, indices, _sums(place, self._outputs[rows] * scale, len(indices)))


class FullGradients(LayerGradients):
    """Of any layer, each record's gradient in full: k times the layer's parameters, 8 bytes each.

    Args:
        rows: for each parameter, where it lies, and Tensor[k, ...], one gradient a record.
    """

    def __init__(self, rows: Sequence[tuple[Slot, Tensor]]) -> None:
        self._rows = [(slot, part.reshape(len(part), -1).to(torch.float64)) for slot, part in rows]
        norms = torch.stack([torch.linalg.vector_norm(part, dim=1) for _, part in self._rows])
        super().__init__(torch.linalg.vector_norm(norms, dim=0), 1)

    @property
    def factors(self) -> list[Tensor]:
        """See `LayerGradients`."""
        return [part for _, part in self._rows]

    def squared_norms(self, starts: NDArray[np.int64]) -> Tensor:
        """See `LayerGradients`."""
        counts = np.diff(starts)
        if (counts == 1).all():
            return self.masses[int(starts[0]) : int(starts[-1])].square()
        unit = torch.arange(len(counts)).repeat_interleave(torch.from_numpy(counts))
        own = slice(int(starts[0]), int(starts[-1]))
        sums = (_sums(unit, part[own], len(counts)) for _, part in self._rows)
        return torch.stack([part.square().sum(1) for part in sums]).sum(0)

    def drop(self, records: Tensor) -> None:
        """See `LayerGradients`."""
        for _, part in self._rows:
            part.index_fill_(0, _rows_of(records, 1), 0.0)

    def add_sum(self, total: Tensor, first: int, factors: Tensor) -> None:
        """See `LayerGradients`."""
        for rows, scale in _products(first, factors, 1):
            for slot, part in self._rows:
                total[slot].addmv_(part[rows].T, scale[:, 0])


def _rows_of(records: Tensor, length: int) -> Tensor:
    """Return the rows of the records that are marked."""
    return records.repeat_interleave(length).nonzero()[:, 0]


def _products(first: int, factors: Tensor, length: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows of at most one product, and their factors as a column."""
    scale = factors.repeat_interleave(length)[:, None]
    for start in range(0, len(scale), MAX_ROWS):
        part = scale[start : start + MAX_ROWS]
        yield slice(first * length + start, first * length + start + len(part)), part


def _sums(place: Tensor, rows: Tensor, number: int) -> Tensor:
    """Return float64[number, n], the sums of the rows that have the same place."""
    return torch.zeros(number, rows.shape[1], dtype=torch.float64).index_add_(0, place, rows)
