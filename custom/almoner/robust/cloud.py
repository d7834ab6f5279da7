"""The rows that a rule works on: those received, fewer if some were dropped, mixed if there is a pre-aggregation.

Nothing of n·d entries is ever copied: rows are read block by block, mixed on the way.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]
_BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class Cloud:
    """m rows, each a fixed mixture of rows that were received.

    Args:
        received: float32[n, d], as received. Never modified; rows that are not in `places` are never read.
        places: int[k], the received rows that take part; None for all.
        mixing: float32[m, k], the mixture that each row is; None when the rows are those that take part.
        owners: int[k], for each row that takes part the row of the cloud that stands for it in reports.
        sizes: float64[m], the declared public size of each row.
        shortened: bool[k], rows that were clipped.
        vetted: whether the rows are known to be finite and of a sane size; see `admit`.
    """

    received: Rows
    places: npt.NDArray[np.intp] | None
    mixing: npt.NDArray[np.float32] | None
    owners: npt.NDArray[np.intp]
    sizes: Matrix
    shortened: npt.NDArray[np.bool_]
    vetted: bool = True

    @property
    def num_rows(self) -> int:
        """m."""
        return len(self.sizes)

    @property
    def dimension(self) -> int:
        """d."""
        return int(self.received.shape[1])

    def blocks(self, width: int) -> Iterator[slice]:
        """Cut the columns into blocks; only the last one may be narrower."""
        for start in range(0, self.dimension, width):
            yield slice(start, min(start + width, self.dimension))

    def width(self, itemsize: int) -> int:
        """Return how many columns a block has, so that it stays in the processor's cache."""
        return max(1024, _BLOCK_BYTES // (itemsize * (self.num_rows + 1)) // 1024 * 1024)

    def read(self, block: slice) -> Rows:
        """Return some columns of the rows, float32[m, width]: maybe a view, so do not modify them."""
        taken = self.received[:, block] if self.places is None else self.received[self.places, block]
        return taken if self.mixing is None else self.mixing @ taken

    def combine(self, coefficients: Matrix) -> Rows:
        """Return a weighted sum of the rows.

        Args:
            coefficients: float64[m].

        Returns:
            float32[d], an array of its own.
        """
        weights: Rows = self.shares(coefficients).astype(np.float32)
        used = np.flatnonzero(weights)
        if len(used) == 1:  # one row: a product an entry, the same on every machine
            place = used[0] if self.places is None else self.places[used[0]]
            row: Rows = np.multiply(self.received[place], weights[used[0]])
            return row
        if self.places is None:
            return np.asarray(weights @ self.received)
        result = np.empty(self.dimension, dtype=np.float32)
        for block in self.blocks(self.width(4)):
            np.matmul(weights, self.received[self.places, block], out=result[block])
        return result

    def shares(self, coefficients: Matrix) -> Matrix:
        """Return which weighted sum of the rows that take part a weighted sum of the rows is, float64[k]."""
        return coefficients if self.mixing is None else coefficients @ self.mixing.astype(np.float64)

    def mixed(self, mixing: Matrix, owners: npt.NDArray[np.intp] | None = None, sizes: Matrix | None = None) -> "Cloud":
        """Return the cloud of mixtures of these rows.

        Args:
            mixing: float64[m', m].
            owners: int[m], for each row of this cloud the new one that stands for it; the same place unless given.
            sizes: float64[m'], the sizes of the new rows; those of this cloud unless given.
        """
        whole = mixing if self.mixing is None else mixing @ self.mixing.astype(np.float64)
        return replace(
            self,
            mixing=whole.astype(np.float32),
            owners=self.owners if owners is None else owners[self.owners],
            sizes=self.sizes if sizes is None else sizes,
        )

    def taking(self, rows: list[int]) -> "Cloud":
        """Return the cloud of some of these rows, for computing only: it reports nothing."""
        places = rows if self.places is None else self.places[rows]
        part = {"places": np.asarray(places)} if self.mixing is None else {"mixing": self.mixing[rows]}
        return replace(self, sizes=self.sizes[rows], **part)

    def shortening(self, clipped: npt.NDArray[np.bool_]) -> "Cloud":
        """Return the same cloud with some of its rows, bool[m], known as clipped."""
        return replace(self, shortened=self.shortened | clipped[self.owners])
