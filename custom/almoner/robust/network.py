"""Sorting the columns of a cloud, block by block in the processor's cache.

A few rows go through a sorting network of minima and maxima of whole rows, whose comparators move no data: the results
change places with a spare row. Many rows are faster sorted column by column, in a transposed block. Which of the two
it is depends on the number of rows alone, so that every machine does the same.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from almoner.robust.cloud import Cloud, Rows

NETWORK_ROWS = 32
"""Up to so many rows the network is the faster one."""
_LIVE = -1
Comparators = tuple[tuple[int, int], ...]
Finish = Callable[[Sequence[Rows], Rows], None]


@lru_cache
def sorting_network(groups: tuple[int, ...]) -> Comparators:
    """Return comparators that sort rows as far as is needed.

    Args:
        groups: for each place of the sorted column a number; places with the same one may stay in any order among
            themselves. `range(n)` sorts all.

    Reference: Batcher, AFIPS 1968 (odd-even merge sort).
    """
    labels, kept = list(groups), []
    for low, high in reversed(tuple(_batcher(len(groups)))):
        if labels[low] != labels[high] or labels[low] == _LIVE:
            kept.append((low, high))
            labels[low] = labels[high] = _LIVE
    return tuple(reversed(kept))


def reduce_columns(cloud: Cloud, groups: Sequence[int], finish: Finish) -> Rows:
    """Return what becomes of each column when it is sorted.

    Args:
        cloud: m rows.
        groups: see `sorting_network`.
        finish: is called with the sorted rows of a block, m arrays float32[w], and the part of the result to write
            to, float32[w].

    Returns:
        float32[d]; no entry is the negative zero, whose place among zeros depends on the processor.
    """
    result = np.empty(cloud.dimension, dtype=np.float32)
    width = min(cloud.width(4), cloud.dimension)
    few = cloud.num_rows <= NETWORK_ROWS
    buffer = np.empty((cloud.num_rows + 1, width) if few else (width, cloud.num_rows), dtype=np.float32)
    for block in cloud.blocks(width):
        size, taken = block.stop - block.start, cloud.read(block)
        rows = _sort_by_network(taken, buffer[:, :size], groups) if few else _sort_transposed(taken, buffer[:size])
        finish(rows, result[block])
        result[block] += 0.0
    return result


def _sort_by_network(taken: Rows, buffer: Rows, groups: Sequence[int]) -> Sequence[Rows]:
    """Return the rows of a block sorted; the buffer has one row more."""
    rows = list(buffer)
    spare = rows.pop()
    for row, values in zip(rows, taken, strict=True):
        row[...] = values
    for low, high in sorting_network(tuple(groups)):
        np.minimum(rows[low], rows[high], out=spare)
        np.maximum(rows[low], rows[high], out=rows[high])
        rows[low], spare = spare, rows[low]
    return rows


def _sort_transposed(taken: Rows, buffer: Rows) -> Sequence[Rows]:
    """Return the rows of a block sorted, as views into the buffer."""
    buffer[...] = taken.T
    buffer.sort(axis=1)
    return list(buffer.T)


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
