"""Attacks that hide among the honest updates: ALIE, inner-product manipulation, Min-Max, Min-Sum.

All know the honest rows of the round (mean μ and standard deviation σ per coordinate are taken over them).
"""

import math
from abc import abstractmethod

import numpy as np
from scipy.stats import norm

from almoner.redteam.poisoning.attack import Attack, RoundView, Rows, Vector, repeat


def supporters_z(num_sites: int, num_byzantine: int) -> float:
    """Return the z_max of ALIE: within μ ± zσ, enough honest sites lie further out than the attackers.

    It is the largest z with Φ(z) < (n - f - s)/(n - f), where s = ⌊n/2 + 1⌋ - f honest supporters make a majority, for
    f < n/2; it is negative when f is so small that most honest sites would have to support.

    Reference: Baruch, Baruch, Goldberg, arXiv:1902.06156, algorithm 3.
    """
    honest = num_sites - num_byzantine
    supporters = max(math.floor(num_sites / 2 + 1) - num_byzantine, 0)
    return float(norm.ppf((honest - supporters) / honest))


class LittleIsEnough(Attack):
    """Shifts the honest mean by z standard deviations in each coordinate.

    Reference: arXiv:1902.06156. With ten sites the paper's z_max is at most 0, so z is at least `LEAST_Z`, which asks
    no supporters and is still inside the spread of the honest rows.
    """

    knowledge = "all"
    LEAST_Z = 1.5

    def craft(self, view: RoundView) -> Rows:
        """Return μ - zσ."""
        mean, spread = view.honest.mean(axis=0), view.honest.std(axis=0)
        z = max(self.LEAST_Z, supporters_z(view.colluders.num_sites, len(view.own)))
        return repeat(mean - z * spread, view)


class InnerProduct(Attack):
    """Sends the negative of the honest mean, so that the result's inner product with the true gradient is negative.

    Reference: Xie, Koyejo, Gupta, arXiv:1903.03936. A small ε fools rules that select by distance or rank; the
    plain sum is turned only by ε above (N - N_f)/N_f.

    Args:
        epsilon: the factor; None takes twice what turns the plain sum.
    """

    knowledge = "all"

    def __init__(self, epsilon: float | None) -> None:
        self._epsilon = epsilon

    def craft(self, view: RoundView) -> Rows:
        """Return -εμ."""
        epsilon = 2.0 * view.colluders.overweight if self._epsilon is None else self._epsilon
        return repeat(-epsilon * view.honest.mean(axis=0), view)


class _Distance(Attack):
    """Sends μ + γp with the largest γ that a bound on the distances to the honest rows allows.

    p is the negative standard deviation ("inverse std"). The paper searches γ by halving; here the bound's quadratic
    equations are solved.
    """

    knowledge = "all"

    def craft(self, view: RoundView) -> Rows:
        """Return the same row for all."""
        mean, spread = view.honest.mean(axis=0), view.honest.std(axis=0)
        if not spread.any():
            return repeat(mean, view)
        direction = -spread / np.linalg.norm(spread)
        return repeat(mean + self._largest_step(view.honest, mean - view.honest, direction) * direction, view)

    @abstractmethod
    def _largest_step(self, honest: Rows, offsets: Rows, direction: Vector) -> float:
        """Return γ, for offsets μ - g_i and a direction of norm 1."""


class MinMax(_Distance):
    """Stays as near to every honest row as the two honest rows that are furthest apart.

    Reference: Shejwalkar, Houmansadr, NDSS 2021, section IV-C: max_i ‖m - g_i‖ <= max_ij ‖g_i - g_j‖.
    """

    def _largest_step(self, honest: Rows, offsets: Rows, direction: Vector) -> float:
        bound = squared_distances(honest).max()
        along, length = offsets @ direction, (offsets**2).sum(axis=1)
        return float(np.min(-along + np.sqrt(np.maximum(along**2 - length + bound, 0.0))))


class MinSum(_Distance):
    """Stays as near to the honest rows together as the honest row that is worst at it.

    Reference: Shejwalkar, Houmansadr, NDSS 2021, section IV-C: Σ_i ‖m - g_i‖² <= max_i Σ_j ‖g_i - g_j‖².
    """

    def _largest_step(self, honest: Rows, offsets: Rows, direction: Vector) -> float:
        bound = squared_distances(honest).sum(axis=1).max()
        return math.sqrt(max(bound - float((offsets**2).sum()), 0.0) / len(honest))


def squared_distances(rows: Rows) -> Rows:
    """Return ‖g_i - g_j‖² for all pairs, float64[h, h]."""
    centred = rows - rows.mean(axis=0)
    lengths = (centred**2).sum(axis=1)
    distances: Rows = np.maximum(lengths[:, None] + lengths[None, :] - 2 * centred @ centred.T, 0.0)
    return distances
