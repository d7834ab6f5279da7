"""Stochastic rounding of floats to the integer grid, with a stated clip.

The trainer's updates are on the grid already, with integer noise; this is for values that are not. It adds no privacy:
rounding at random moves a value by up to one step, which a sensitivity has to count.
"""

import secrets

import numpy as np
import numpy.typing as npt

from almoner.errors import ProtocolError
from almoner.protection.stream import KEY_BYTES, Stream
from almoner.secagg.blocks import BLOCK_VALUES, blocks

_FRACTION = 2.0**-32


def quantise(
    values: npt.NDArray[np.floating], step: float, limit: int, key: bytes | None = None
) -> npt.NDArray[np.int32]:
    """Round each value to one of its two grid points, at random and right on average, after clipping.

    *Guarantee*: every result is within ±limit. The mean of a result is value/step up to 2^-32, where that is within
    ±limit. Values beyond are clipped first, and what is not a number becomes 0: nothing is refused, since a refusal
    would tell about the data.

    Args:
        values: float[d], in the unit of `step`. Not modified.
        step: distance of two grid points.
        limit: largest absolute value of a result; the clip is limit · step.
        key: 32 bytes that the rounding depends on; drawn afresh unless given. Never use one twice.

    Returns:
        int32[d], counted in steps.

    Raises:
        ProtocolError: step or limit is out of range, or the values are no vector of floats.
    """
    if not 0 < step < np.inf or not 1 / step < np.inf or not 1 <= limit < 2**31:
        raise ProtocolError(f"quantise: step {step} or limit {limit} is out of range: take them from the job's grid")
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.floating):
        raise ProtocolError("quantise: the values are no vector of floats: flatten them")
    stream, result = Stream(key or secrets.token_bytes(KEY_BYTES)), np.empty(values.size, dtype=np.int32)
    bits, scaled, chances = np.empty(BLOCK_VALUES, dtype="<u4"), np.empty(BLOCK_VALUES), np.empty(BLOCK_VALUES)
    for block in blocks(values.size):
        size = block.stop - block.start
        exact, chance, drawn = scaled[:size], chances[:size], bits[:size]
        np.multiply(values[block], 1 / step, out=exact, dtype=np.float64)
        np.clip(exact, -limit, limit, out=exact)
        exact[np.isnan(exact)] = 0.0
        stream.fill(drawn.view(np.uint8))
        np.multiply(drawn, _FRACTION, out=chance)
        exact += chance
        result[block] = np.floor(exact, out=exact)
    return result
