"""A site's part of a distributed request: its integers, with its share of the noise."""

import numpy as np
from numpy.typing import NDArray

from almoner.privacy.discrete_gaussian import discrete_gaussian
from almoner.privacy.distributed_noise import shared_noise
from almoner.protection.modulus import MODULUS
from almoner.schema.statistics import StatisticsSpec


def noised_share(spec: StatisticsSpec, exact: NDArray[np.int64], num_sites: int) -> NDArray[np.int64]:
    """Add a site's share of the noise to its integers, modulo the aggregation's prime.

    *Guarantee*: what is returned is, cell by cell, the exact integer in steps plus a discrete Gaussian of σ_i, reduced
    modulo p: nothing is clamped and nothing refused, whatever the noise. By itself it does not protect anybody: it is
    for secure aggregation alone, whose total is what `shared_noise` guarantees. How long sampling takes is not covered.

    Args:
        exact: int64[D] of `exact_cells`.
        num_sites: all sites of the job; what the noise is sized by.

    Returns:
        int64[D] in (-p/2, p/2).

    Raises:
        PolicyViolation: see `shared_noise`.

    Reference: Canonne, Kamath, Steinke, arXiv:2004.00010 (the sampler, on exact rationals); arXiv:2102.06387.
    """
    shares = shared_noise(spec, num_sites)
    values: list[int] = []
    for each in shares:
        drawn = discrete_gaussian(each.step_sigma, each.part.num_cells).tolist()
        own = exact[each.part.cells].tolist()
        values += [_signed(value * each.steps + noise) for value, noise in zip(own, drawn, strict=True)]
    return np.array(values, dtype=np.int64)


def in_units(spec: StatisticsSpec, total: NDArray[np.int64], num_sites: int) -> NDArray[np.int64]:
    """Return a total in units, rounded to whole ones, from the steps that it was added up in; int64[D]."""
    parts = [(2 * total[each.part.cells] + each.steps) // (2 * each.steps) for each in shared_noise(spec, num_sites)]
    return np.concatenate(parts)


def _signed(value: int) -> int:
    """Return the signed residue of a number."""
    residue = value % MODULUS
    return residue - MODULUS if residue > MODULUS // 2 else residue
