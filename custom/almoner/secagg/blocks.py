"""The blocks in which vectors are worked on, so that 100 million entries need no second copy."""

from collections.abc import Iterator

BLOCK_VALUES = 3 * 2**14
"""Values of one block: what a loop touches stays in the processor's cache."""


def blocks(dimension: int) -> Iterator[slice]:
    """Cut a vector of so many entries into blocks; only the last one may be shorter."""
    for start in range(0, dimension, BLOCK_VALUES):
        yield slice(start, min(start + BLOCK_VALUES, dimension))
