"""Stochastic rounding of floats to the integer grid, with a stated clip.

The trainer's updates are on the grid already, with integer noise; this is for values that are not. It adds no privacy:
rounding at random moves a value by up to one step, which a sensitivity has to count.
"""

import math
import secrets

import numpy as np
import numpy.typing as npt

from almoner.errors import ProtocolError
from almoner.protection.stream import KEY_BYTES, Stream
from almoner.secagg.blocks import BLOCK_VALUES, blocks

_NARROW_BITS, _WIDE_BITS = 16, 32
Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.signedinteger]
Words = npt.NDArray[np.unsignedinteger]


def quantise(values: Floats, step: float, limit: int, key: bytes | None = None) -> npt.NDArray[np.int32]:
    """Round each value to one of its two grid points, at random and right on average, after clipping.

    *Guarantee*: every result is within ±limit, and a value on the grid stays where it is. The mean of a result is
    value/step up to the resolution of the rounding, where that is within ±limit: value/step is first taken to the
    nearest multiple of 2^-16, for float32 values, a step that is a power of two and a limit below 2^15, and of 2^-32
    otherwise; the chances are then exact. So the mean is off by at most half of that. Values beyond are clipped first,
    and what is not a number becomes 0: nothing is refused, since a refusal would tell about the data.

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
    if not 0 < step < np.inf or not 2.0**_WIDE_BITS / step < np.inf or not 1 <= limit < 2**31:
        raise ProtocolError(f"quantise: step {step} or limit {limit} is out of range: take them from the job's grid")
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.floating):
        raise ProtocolError("quantise: the values are no vector of floats: flatten them")
    narrow = _is_narrow(values.dtype, step, limit)
    bits = _NARROW_BITS if narrow else _WIDE_BITS
    exact: Floats = np.empty(BLOCK_VALUES, dtype=np.float32 if narrow else np.float64)
    fixed: Integers = np.empty(BLOCK_VALUES, dtype=np.int32 if narrow else np.int64)
    drawn: Words = np.empty(BLOCK_VALUES, dtype="<u2" if narrow else "<u4")
    stream, result = Stream(key or secrets.token_bytes(KEY_BYTES)), np.empty(values.size, dtype=np.int32)
    for block in blocks(values.size):
        size = block.stop - block.start
        _to_fixed_point(values[block], 2.0**bits / step, float(limit << bits), exact[:size], fixed[:size])
        stream.fill(drawn[:size].view(np.uint8))
        fixed[:size] += drawn[:size]
        np.right_shift(fixed[:size], bits, out=result[block], casting="same_kind")
    return result


def _is_narrow(dtype: np.dtype[np.floating], step: float, limit: int) -> bool:
    """Tell whether float32 and int32 do: scaling is exact then, and ±limit with 16 bits after the point fits."""
    mantissa, exponent = math.frexp(step)
    return dtype.itemsize <= 4 and limit < 2 ** (31 - _NARROW_BITS) and mantissa == 0.5 and abs(exponent) < 100


def _to_fixed_point(values: Floats, scale: float, bound: float, exact: Floats, fixed: Integers) -> None:
    """Write the integers nearest to values · scale, clipped to ±bound, into `fixed`; `exact` is scratch."""
    with np.errstate(over="ignore", invalid="ignore"):
        np.multiply(values, scale, out=exact, dtype=exact.dtype)
    np.clip(exact, -bound, bound, out=exact)
    if np.isnan(exact.min()):
        exact[np.isnan(exact)] = 0.0
    np.rint(exact, out=exact)
    np.copyto(fixed, exact, casting="unsafe")
