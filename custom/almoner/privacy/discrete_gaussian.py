"""The exact discrete Gaussian, by OpenDP: what shares of distributed noise are drawn from."""

import numpy as np
import opendp.prelude as dp
from numpy.typing import NDArray

dp.enable_features("contrib")


def discrete_gaussian(sigma: float, size: int) -> NDArray[np.int64]:
    """Draw integers with chances proportional to exp(-x²/(2σ²)), independent of each other; int64[size].

    Some 11 µs a draw. How long sampling takes is not covered by any guarantee.

    Reference: Canonne, Kamath, Steinke, arXiv:2004.00010, section 5 (the sampler, on exact rationals).
    """
    space = dp.vector_domain(dp.atom_domain(T="i64"), size=size), dp.l2_distance(T="i64")
    return np.array(dp.m.make_gaussian(*space, scale=sigma)([0] * size), dtype=np.int64)
