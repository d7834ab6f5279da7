"""Updates with most of their entries left out: two ways to measure, and why no job offers either.

- *The largest entries of each site's update.* Which entries are large depends on the data, so they may be chosen only
  after the site's noise is on. Then they are mostly the entries with the largest *noise*: `largest_are_right` counts.
  And each site sends other entries, so their indices travel in clear and the masks of secret sharing, which cover every
  entry alike, do not fit: a server that knows who sent which entry sees each update that no other site overlaps with.
- *The same random entries at all sites*, drawn from a seed that is public. Nothing about the data is in the choice, and
  a masked vector of fewer entries is a masked vector. But an entry waits ten rounds for its turn where a tenth is sent,
  and by then it is stale: steps must be smaller, and training takes longer.

Both keep what they leave out and add it to the next update (error feedback), the usual remedy. What is kept has its
noise already, so that sending it later is post-processing.

Reference: Stich, Cordonnier, Jaggi, "Sparsified SGD with memory", arXiv:1809.07599 (both choices, with memory).
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Sparsified(ABC):
    """What a server makes of a round where each site leaves entries out; see `Combine` of `simulate`. One a run.

    Args:
        share: of the entries that are sent, in (0, 1].
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._left_out: Ints | None = None

    def __call__(self, weights: NDArray[np.float64], updates: Ints) -> Ints:
        """Return the sum of what the sites send, int64[d]; updates int64[n, d]."""
        wanted = updates if self._left_out is None else updates + self._left_out
        sent: Ints = np.where(self._chosen(wanted), wanted, 0)
        self._left_out = wanted - sent
        total: Ints = sent.sum(axis=0)
        return total

    @abstractmethod
    def _chosen(self, wanted: Ints) -> NDArray[np.bool_]:
        """Say which entries are sent, bool[n, d] or bool[d]."""

    def _count(self, dimension: int) -> int:
        return sent_entries(self._share, dimension)


class LargestEntries(Sparsified):
    """Each site sends the entries that are largest with its noise on them."""

    def _chosen(self, wanted: Ints) -> NDArray[np.bool_]:
        """Mark the largest of each row; which of equal ones does not matter."""
        count, chosen = self._count(wanted.shape[1]), np.zeros(wanted.shape, bool)
        np.put_along_axis(chosen, np.argpartition(-np.abs(wanted), count - 1, axis=1)[:, :count], True, axis=1)
        return chosen


class SharedRandomEntries(Sparsified):
    """All sites send the same entries, drawn anew each round from a public seed."""

    def __init__(self, share: float, seed: int) -> None:
        super().__init__(share)
        self._rng = np.random.default_rng(seed)

    def _chosen(self, wanted: Ints) -> NDArray[np.bool_]:
        """Mark as many entries of a random order."""
        chosen = np.zeros(wanted.shape[1], bool)
        chosen[self._rng.permutation(wanted.shape[1])[: self._count(wanted.shape[1])]] = True
        return chosen


def sent_entries(share: float, dimension: int) -> int:
    """Return how many entries a share of d is, at least one."""
    return max(1, round(share * dimension))


def largest_are_right(signal: NDArray[np.float64], noise: NDArray[np.float64], share: float) -> float:
    """Return which part of an update's truly largest entries is among the largest once noise is added.

    With nothing but noise it is `share` on average.

    Args:
        signal, noise: float64[d].
        share: of the entries that count as largest.
    """
    count = sent_entries(share, signal.size)
    true, found = (set(np.argsort(-np.abs(values))[:count].tolist()) for values in (signal, signal + noise))
    return len(true & found) / count
