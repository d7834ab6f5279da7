"""The noise of a request's integers: OpenDP's discrete samplers, on integers, by OpenDP's own privacy map.

No number here is floating point but a scale: both samplers draw from exact rationals (Canonne, Kamath, Steinke,
arXiv:2004.00010), so that what is released has the same support for every data set (Mironov, CCS 2012).
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import opendp.prelude as dp
from numpy.typing import NDArray

from almoner.errors import PolicyViolation
from almoner.privacy.statistics_plan import Part, part_event, statistics_parts
from almoner.release.laws import scale_for
from almoner.schema.receipt import PrivacyEvent, PureRelease, ZcdpRelease
from almoner.schema.statistics import StatisticsSpec

_SCALE_STEPS = 8

dp.enable_features("contrib")


def noised(spec: StatisticsSpec, exact: NDArray[np.int64]) -> NDArray[np.int64]:
    """Noise all integers of a request, each part by its share of the budget.

    *Guarantee*: what is returned is (target_epsilon, target_delta)-DP for one unit under add_or_remove_one, pure
    target_epsilon-DP with integer Laplace, if one unit changes each part as `statistics_plan` says. Each part's map is
    OpenDP's for the part's own event. How long sampling takes is not covered.

    Args:
        exact: int64[D] of `exact_cells`.

    Raises:
        PolicyViolation: OpenDP's map claims more than the event that was charged.
    """
    parts = statistics_parts(spec)
    return np.concatenate([_noised_part(part_event(spec, part), part, exact[part.cells]) for part in parts])


def _noised_part(event: PrivacyEvent, part: Part, exact: NDArray[np.int64]) -> NDArray[np.int64]:
    """Noise one part."""
    return np.array(measurement(event, part.num_cells, part.bound)(exact.tolist()), dtype=np.int64)


@lru_cache(maxsize=256)
def measurement(event: PrivacyEvent, size: int, bound: int) -> Any:
    """Return OpenDP's measurement of a vector with the least scale for which it claims at most the event's cost.

    Args:
        event: a pure ε release (integer Laplace), or ρ-zCDP (discrete Gaussian).
        size: length of the vector.
        bound: how far one unit can move it, in L1 and L2.

    Raises:
        PolicyViolation: there is none, or the event is of another kind.
    """
    domain = dp.vector_domain(dp.atom_domain(T="i64"), size=size)
    scale = scale_for(event, bound)
    for _ in range(_SCALE_STEPS):
        if isinstance(event, PureRelease):
            made, cost, claimed = dp.m.make_laplace(domain, dp.l1_distance(T="i64"), scale=scale), event.epsilon, bound
        elif isinstance(event, ZcdpRelease):
            made, cost, claimed = dp.m.make_gaussian(domain, dp.l2_distance(T="i64"), scale=scale), event.rho, bound
        else:
            break
        if made.map(claimed) <= cost:
            return made
        scale = math.nextafter(scale, math.inf)
    raise PolicyViolation("release: OpenDP has no noise for what was charged → choose another ε")
