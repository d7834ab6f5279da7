"""Sorting each column of a block of rows by minima and maxima of whole rows: a sorting network.

A comparator puts the lesser of two rows, entry by entry, on one wire and the greater on the other. It moves no data:
the two results change places with a spare row.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import numpy as np

from almoner.robust.cloud import Cloud, Rows

Comparators = tuple[tuple[int, int], ...]


@lru_cache
def sorting_network(num_rows: int, needed: frozenset[int] | None = None) -> Comparators:
    """Return the comparators that sort so many rows.

    Args:
        num_rows: n.
        needed: the places whose rows are wanted; the others may stay in any order. All unless given.

    Reference: Batcher, AFIPS 1968 (odd-even merge sort).
    """
    live, kept = set(range(num_rows) if needed is None else needed), []
    for low, high in reversed(tuple(_batcher(num_rows))):
        if low in live or high in live:
            kept.append((low, high))
            live |= {low, high}
    return tuple(reversed(kept))


def _batcher(num_rows: int) -> Iterator[tuple[int, int]]:
    """Yield the comparators of Batcher's merge exchange."""
    part = 1
    while part < num_rows:
        step = part
        while step >= 1:
            for start in range(step % part, num_rows - step, 2 * step):
                for low in range(start, min(start + step, num_rows - step)):
                    if low // (2 * part) == (low + step) // (2 * part):
                        yield low, low + step
            step //= 2
        part *= 2


def sort_rows(rows: list[Rows], spare: Rows, comparators: Iterable[tuple[int, int]]) -> None:
    """Sort the entries of each column over the rows, in place: the rows of the list change places and contents.

    Args:
        rows: n arrays float32[w].
        spare: float32[w], overwritten; which array is spare changes as well.
        comparators: see `sorting_network`.
    """
    for low, high in comparators:
        np.minimum(rows[low], rows[high], out=spare)
        np.maximum(rows[low], rows[high], out=rows[high])
        rows[low], spare = spare, rows[low]


def reduce_columns(cloud: Cloud, comparators: Comparators, finish: Callable[[list[Rows], Rows], None]) -> Rows:
    """Return what becomes of each column when it is sorted.

    Args:
        cloud: the rows.
        comparators: the network.
        finish: called with the sorted rows of a block, m arrays float32[w], which it may overwrite, and the part of
            the result to write to, float32[w].

    Returns:
        float32[d]; no entry is the negative zero, whose place among zeros depends on the processor.
    """
    result = np.empty(cloud.dimension, dtype=np.float32)
    width = min(cloud.width(4), cloud.dimension)
    buffer = np.empty((cloud.num_rows + 1, width), dtype=np.float32)
    for block in cloud.blocks(width):
        rows = list(buffer[:, : block.stop - block.start])
        spare = rows.pop()
        for row, taken in zip(rows, cloud.read(block), strict=True):
            row[...] = taken
        sort_rows(rows, spare, comparators)
        finish(rows, result[block])
        result[block] += 0.0
    return result
