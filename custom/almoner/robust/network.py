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
def full_network(num_rows: int) -> Comparators:
    """Return comparators that sort so many rows.

    Reference: Batcher, AFIPS 1968 (odd-even merge sort).
    """
    return tuple(_batcher(num_rows))


@lru_cache
def trimming_network(num_rows: int, cut: int) -> Comparators:
    """Return comparators that put the least and the greatest rows at the ends, and the others in any order between.

    For a small cut, its extremes are taken out one by one; for a larger one, the full network is left without what
    only sorts the middle or the ends.

    Args:
        num_rows: n.
        cut: how many rows belong at either end.
    """
    labels, kept = [0] * cut + [1] * (num_rows - 2 * cut) + [0] * cut, []
    for low, high in reversed(full_network(num_rows)):
        if labels[low] != labels[high] or labels[low] == _LIVE:
            kept.append((low, high))
            labels[low] = labels[high] = _LIVE
    return min(tuple(_peeling(num_rows, cut)), tuple(reversed(kept)), key=len)


def reduce_columns(cloud: Cloud, comparators: Comparators, finish: Finish) -> Rows:
    """Return what becomes of each column when it is sorted.

    Args:
        cloud: m rows.
        comparators: how the network sorts them.
        finish: is called with the sorted rows of a block, m arrays float32[w], and the part of the result to write
            to, float32[w].

    Returns:
        float32[d]; no entry is the negative zero, whose place among zeros depends on the processor.
    """
    result = np.empty(cloud.dimension, dtype=np.float32)
    width = min(cloud.width(4), cloud.dimension)
    few = cloud.num_rows <= NETWORK_ROWS
    buffer = np.empty((cloud.num_rows + 2, width) if few else (width, cloud.num_rows), dtype=np.float32)
    for block in cloud.blocks(width):
        size, taken = block.stop - block.start, cloud.read(block)
        rows = _sort_by_network(taken, buffer[:, :size], comparators) if few else _sort_transposed(taken, buffer[:size])
        finish(rows, result[block])
        result[block] += 0.0
    return result


def _sort_by_network(taken: Rows, buffer: Rows, comparators: Comparators) -> Sequence[Rows]:
    """Return the rows of a block sorted, without touching them; the buffer has two rows more."""
    rows, spare, own = list(taken), list(buffer), [False] * len(taken)
    for low, high in comparators:
        lesser = np.minimum(rows[low], rows[high], out=spare.pop())
        rows[high] = np.maximum(rows[low], rows[high], out=rows[high] if own[high] else spare.pop())
        if own[low]:
            spare.append(rows[low])
        rows[low], own[low], own[high] = lesser, True, True
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


def _peeling(num_rows: int, cut: int) -> Iterator[tuple[int, int]]:
    """Yield comparators that bring the least of the rows to the front and the greatest to the back, again and again."""
    for first in range(cut):
        last = num_rows - 1 - first
        lows, highs = range(first, (first + last) // 2 + 1), range((first + last + 1) // 2, last + 1)
        yield from ((low, first + last - low) for low in lows if low < first + last - low)
        yield from ((first, low) for low in lows[1:])
        yield from ((high, last) for high in highs[:-1])
