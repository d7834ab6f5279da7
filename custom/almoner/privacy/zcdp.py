"""Zero-concentrated DP: the ρ that a target ε allows, for releases with discrete Gaussian noise."""

import math
from functools import lru_cache

from almoner.errors import DocumentError
from almoner.privacy.rdp import rdp_epsilon
from almoner.schema.receipt import ZcdpRelease

DIGITS = 6
"""Significant decimal digits of ρ."""
_LARGEST_RHO = 100.0


def rho_epsilon(rho: float, delta: float) -> float:
    """Return an ε at δ of everything that is ρ-zCDP; see `rdp_epsilon`.

    Reference: Bun, Steinke, arXiv:1605.02065, Definition 1.1 (the Rényi divergence at α is at most ρα).
    """
    return rdp_epsilon((ZcdpRelease(kind="zcdp_release", rho=rho, count=1),), delta)


@lru_cache(maxsize=1024)
def largest_rho(target_epsilon: float, target_delta: float) -> float:
    """Return the largest ρ, to six digits, that is (target_epsilon, target_delta)-DP by `rho_epsilon`.

    Raises:
        DocumentError: no ρ is: the target is too small for its δ.
    """
    low, high = 0.0, _LARGEST_RHO
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if rho_epsilon(middle, target_delta) <= target_epsilon else (low, middle)
    if low > 0:
        unit = 10.0 ** (math.floor(math.log10(low)) - DIGITS + 1)
        low = math.floor(low / unit) * unit
    if not low > 1e-12:
        raise DocumentError(
            f"privacy.target_epsilon: {target_epsilon:g} at δ={target_delta:g} allows no ρ → raise target_epsilon"
        )
    return low
