"""Where a vector's entries lie: two 16-bit values a slot, then a count and two tags.

A slot is one coefficient of a plaintext. Slot i < h = ⌈d/2⌉ holds entries i and h + i. An entry v in
[-32767, 32767] becomes the unsigned v + 32767 <= 65534, and fifty of them sum to at most 3,276,700 < 2^22, so a slot
`low + (high << 22)` adds without a carry from one to the other. Slot h counts the addends; slots h + 1 and h + 2 hold
the tags. Slots behind them hold zeros, and still do after adding.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from almoner.protection.scheme import VALUE_BOUND, IntVector

SLOTS = 4096
"""Slots of one plaintext."""

FIELD_BITS = 22
NUM_TAGS = 2
BLOCK_CHUNKS = 8
"""Plaintexts that are worked on at once: their slots stay in the processor's cache."""


@dataclass(frozen=True)
class Layout:
    """The slots of a vector.

    Args:
        dimension: d, at least 1.
    """

    dimension: int

    @property
    def count_slot(self) -> int:
        """The slot behind the values."""
        return -(-self.dimension // 2)

    @property
    def tag_slots(self) -> range:
        """The slots behind the count."""
        return range(self.count_slot + 1, self.count_slot + 1 + NUM_TAGS)

    @property
    def num_chunks(self) -> int:
        """Plaintexts that a vector takes."""
        return -(-self.tag_slots.stop // SLOTS)

    def blocks(self) -> Iterator[range]:
        """Return all slots, some whole plaintexts at a time."""
        end, step = self.num_chunks * SLOTS, BLOCK_CHUNKS * SLOTS
        return (range(start, min(start + step, end)) for start in range(0, end, step))

    def entries(self, block: range) -> tuple[slice, slice]:
        """Return the entries in the low and in the high fields of a block's slots."""
        half = self.count_slot
        low = slice(min(block.start, half), min(block.stop, half))
        return low, slice(*(min(half + edge, self.dimension) for edge in (low.start, low.stop)))


def put_fields(layout: Layout, block: range, values: IntVector) -> IntVector:
    """Return the fields of a block of one addend: its values, saturated, and the count 1.

    Args:
        values: int64[d].

    Returns:
        int64[2, slots of the block], entries in [0, 65534]; zero where the tags belong.
    """
    fields = np.zeros((2, len(block)), dtype=np.int64)
    for row, entries in zip(fields, layout.entries(block), strict=True):
        part = row[: entries.stop - entries.start]
        np.clip(values[entries], -VALUE_BOUND, VALUE_BOUND, out=part)
        part += VALUE_BOUND
    if layout.count_slot in block:
        fields[0, layout.count_slot - block.start] = 1
    return fields


def take_fields(layout: Layout, block: range, fields: IntVector, num_addends: int, sums: IntVector) -> bool:
    """Write a block's part of the sum, each addend's offset taken off.

    Args:
        fields: int64[2, slots of the block] of a total, zero where the tags were. Modified.
        num_addends: how many addends the total must have.
        sums: int64[d], written where the block's entries are.

    Returns:
        Whether the fields are such as so many addends make: none above their largest sum, the count that number,
        all behind it zero.
    """
    if layout.count_slot in block:
        fields[0, layout.count_slot - block.start] -= num_addends
    sound = True
    for row, entries in zip(fields, layout.entries(block), strict=True):
        size = entries.stop - entries.start
        sound &= bool(row[:size].max(initial=0) <= 2 * VALUE_BOUND * num_addends) and not row[size:].any()
        np.subtract(row[:size], num_addends * VALUE_BOUND, out=sums[entries])
    return sound


def join_fields(fields: IntVector) -> IntVector:
    """Return slots, entries in [0, 2^44)."""
    slots: IntVector = fields[1] << FIELD_BITS
    slots |= fields[0]
    return slots


def split_fields(slots: IntVector) -> IntVector:
    """Return int64[2, slots]: the low and the high field of each."""
    return np.stack((slots & ((1 << FIELD_BITS) - 1), slots >> FIELD_BITS))
