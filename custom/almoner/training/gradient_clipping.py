"""How far a unit's gradient is scaled down, and why the sum *as computed* has sensitivity ≤ C.

A unit's gradient g is a sum of terms: one for each of its records, and for each position where a layer is applied to
a record more than once. Its *mass* A is the sum of the terms' norms: A ≥ ‖g‖, equal for one term. Terms are taken as
the model's float32 arithmetic gives them, and computed on in float64, unit roundoff u = 2^-53. Nothing overflows or
vanishes there: numbers that are not 0 lie in 2^±149, C in 2^±64, and so all products that occur in 2^±900.

*Norm.* The computed square Q differs from ‖g‖² by less than 2^-24 A². It is a sum of squares, or of products of dot
products, or the square of a computed sum, with fewer than 2^28 operations along any way (2^27 parameters, 2^24 terms
a unit), and n operations in any order, fused or not, have a relative error of at most γ_n = nu/(1−nu), relative to
the sum of absolute values (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). So b = √(Q + 2^-24
A²) is at least ‖g‖ up to a factor of 1 ± 2^-50, and with

    s = min(1, C(1−2^-10)/b, 2^8 C(1−2^-10)/A),   0 if anything is not finite,

a function of the unit alone, ‖s g‖ ≤ C(1−2^-10)(1+2^-49) and s A ≤ 2^8 C. The last bound matters only where a unit's
terms cancel to less than a 256th of their mass; it then cuts further than C asks.

*Sum.* The computed sum S' of s g over N units misses the exact one, S, by rounding alone. Whatever the order, a
coordinate is wrong by at most γ_D Σ|terms|, D the number of operations that a term takes part in; so by the triangle
inequality ‖S' − S‖ ≤ γ_D Σ s A ≤ γ_D N 2^8 C. D ≤ 2^13: one product of matrices adds a term to fewer than 2^10 others
(`MAX_ROWS`); at most 2^10 products go onto one vector (`FLUSH`), and at most 2^11 such vectors onto the next, since all
but the last have more than 2^9 of the 2^20 products of a sample; both once before, for a unit that is spread over
passes; three operations make the term. With N ≤ 2^20, ‖S' − S‖ ≤ 2^-12 C (1+2^-39).

*Both.* The exact sums of two samples that differ in one unit are at most C(1−2^-10)(1+2^-49) apart, the computed ones
at most 2^-11 C (1+2^-39) more, and that is less than C.
"""

import torch
from torch import Tensor

from almoner.errors import PolicyViolation

MARGIN = 2.0**-10
CANCELLATION = 2.0**8
NORM_ERROR = 2.0**-24
MAX_UNITS = 2**20
MAX_PARAMETERS = 2**27
MAX_ROWS = 2**10
FLUSH = 2**10
_MAX_EXPONENT = 64


def check_sizes(dimension: int, max_grad_norm: float, micro_batch_size: int, min_micro_batches: int) -> None:
    """Refuse public numbers for which this module proves nothing.

    Raises:
        PolicyViolation: when one is out of range.
    """
    checks = {
        f"{dimension} parameters": dimension <= MAX_PARAMETERS,
        f"max_grad_norm {max_grad_norm:g}": 2.0**-_MAX_EXPONENT <= max_grad_norm <= 2.0**_MAX_EXPONENT,
        f"samples of {micro_batch_size * min_micro_batches}": micro_batch_size * min_micro_batches <= MAX_UNITS,
    }
    if wrong := [name for name, holds in checks.items() if not holds]:
        raise PolicyViolation(f"gradients: {', '.join(wrong)} out of range → correct the job or the declared size")


def clipping_factors(squared_norms: Tensor, masses: Tensor, max_grad_norm: float) -> Tensor:
    """Return what each unit's gradient is multiplied by: s of this module, 0 where anything is not finite.

    Args:
        squared_norms: float64[u], Q.
        masses: float64[u], A.
        max_grad_norm: C.
    """
    bounds = torch.sqrt(squared_norms.clamp(min=0) + NORM_ERROR * masses.square())
    target = max_grad_norm * (1 - MARGIN)
    factors = torch.minimum(target / bounds, CANCELLATION * target / masses).clamp(max=1.0)
    return torch.where(torch.isfinite(bounds), factors, torch.zeros_like(factors))


class RunningSum:
    """A vector that products are added to, and put on another after every `FLUSH`, so that few roundings meet a term.

    Args:
        dimension: d.
    """

    def __init__(self, dimension: int) -> None:
        self.open = torch.zeros(dimension, dtype=torch.float64)
        self._closed: Tensor | None = None
        self._products = 0

    def expect(self, products: int) -> None:
        """Make room for so many products, at most `FLUSH` / 2."""
        if self._products + products > FLUSH:
            self._closed = self.open.clone() if self._closed is None else self._closed.add_(self.open)
            self.open.zero_()
            self._products = 0
        self._products += products

    def total(self) -> Tensor:
        """Return the sum, float64[d]."""
        return self.open if self._closed is None else self._closed.add_(self.open)
