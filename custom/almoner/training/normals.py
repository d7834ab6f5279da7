"""Normal numbers from uniform bits, by vector operations: the way of Box and Muller.

Of two words a and b, uniform on [-2^63, 2^63), come two normals s·r·cos θ and s·r·sin θ, s the standard deviation, with

    r² = −ln(v² + 2^-128),  v = a / 2^63,    θ = π b / 2^63

*How near to the exact law.* Words stand for cells of 2^-63 around a/2^63 and b/2^63. Let V and Θ/π be uniform reals in
them, U = |V| and R² = −2 ln U: R cos Θ and R sin Θ are exact normals, independent of each other. The computed ones
differ from them by less than 2^-49 on average (of a deviation; terms beyond the first order are left out):

- Radius: a is rounded, and its square, and the sum, so that r² is wrong by 2^-51, and by 2^-62/U more, as V is
  elsewhere in its cell. The logarithm (good to a unit in the last place), s² and their product add 2^-51 R², the root
  2^-53 R: r is wrong by 2^-52/R + 2^-63/(U R) + 1.5·2^-52 R. The means of R and 1/R are √(π/2); that of 1/(U R) is
  below 10, but for U < 2^-63. In all less than 0.8·2^-50.
- Angle: b, π and their product are rounded, each by 2^-53 of itself. That moves the numbers by 3·2^-53 R times
  |θ sin θ| and |θ cos θ|, whose means are 1. In all less than 0.5·2^-50.
- Cosine and sine (good to a unit in the last place) and the products: 1.5·2^-52 R, less than 0.5·2^-50.

No number is beyond 9.42 s; an exact radius is with a chance of 2^-64. How many bits and operations are taken depends on
how many numbers are drawn alone.

Reference: Box and Muller, "A note on the generation of random normal deviates", Ann. Math. Stat. 29 (1958).
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

_UNIT = 2.0**-63
_LEAST = 2.0**-128


def box_muller(words: NDArray[np.uint64], scale: float) -> NDArray[np.float64]:
    """Turn uniform words into as many normals.

    Guarantee: they are independent if the words are, and as near to the exact law as the module states.

    Args:
        words: uint64[2k]; those of the first half give radii, those of the second angles.
        scale: standard deviation.
    """
    pairs = torch.from_numpy(words.view(np.int64)).view(2, -1).double()
    radii, angles = pairs
    radii.square_().mul_(_UNIT**2).add_(_LEAST).log_().mul_(-(scale**2)).sqrt_()
    cosines = angles.mul_(math.pi * _UNIT).cos()
    angles.sin_().mul_(radii)
    radii.mul_(cosines)
    return pairs.view(-1).numpy()
