"""Two 16-bit values in one plaintext slot, so that slots add without a carry from one to the other.

A value v in [-32767, 32767] becomes the unsigned v + 32767 <= 65534. Fifty of them sum to at most
3,276,700 < 2^22, so a slot `low + (high << 22)` stays below 2^44. Slots past the end of the vector
hold raw zeros, and still do after adding, which `unpack` checks.
"""

import numpy as np

from almoner.errors import ProtocolError
from almoner.protection.scheme import VALUE_BOUND, IntVector

SLOTS = 4096
"""Slots of one plaintext."""

FIELD_BITS = 22
VALUES_PER_CHUNK = 2 * SLOTS


def num_chunks(dimension: int) -> int:
    """Return how many plaintexts a vector takes."""
    return -(-dimension // VALUES_PER_CHUNK)


def pack(values: IntVector) -> IntVector:
    """Return a vector as slots.

    Args:
        values: int64[d], within ±VALUE_BOUND (see `saturate`).

    Returns:
        int64[num_chunks, SLOTS], entries in [0, 2^44).
    """
    padded = np.zeros(num_chunks(values.size) * VALUES_PER_CHUNK, dtype=np.int64)
    padded[: values.size] = values + VALUE_BOUND
    fields = padded.reshape(-1, 2, SLOTS)
    return fields[:, 0] + (fields[:, 1] << FIELD_BITS)


def unpack(slots: IntVector, dimension: int, num_addends: int) -> IntVector:
    """Return the sum that added slots hold, each addend's offset taken off.

    Args:
        slots: int64[num_chunks, SLOTS], the sum of what `pack` returned.
        dimension: d.
        num_addends: how many were added, at most MAX_ADDENDS.

    Returns:
        int64[d].

    Raises:
        ProtocolError: the slots are no such sum. With the wrong key this happens for all but a
            negligible share of totals.
    """
    fields = np.stack((slots & ((1 << FIELD_BITS) - 1), slots >> FIELD_BITS), axis=1).reshape(-1)
    if fields.max() > 2 * VALUE_BOUND * num_addends or fields[dimension:].any():
        raise ProtocolError("open: the total holds no sum of so many addends: wrong key, or a damaged message")
    return fields[:dimension] - num_addends * VALUE_BOUND
