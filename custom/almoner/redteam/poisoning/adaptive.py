"""An attack made for the rule: it tries out what the rule would do, and takes what turns it furthest."""

from collections.abc import Callable

import numpy as np

from almoner.errors import ProtocolError
from almoner.redteam.poisoning.attack import Attack, RoundView, Rows, Vector, repeat

_FIRST_FACTORS = np.geomspace(2.0**-4, 2.0**8, 13)
_HALVINGS = 6


class Adaptive(Attack):
    """Searches the deviation that makes the rule's own result go furthest against the honest mean.

    It knows the honest rows, the rule and its public seed. All colluders send μ + γp; for each of three directions p
    (against μ, against the standard deviation, against the sign of μ) γ is searched coarsely and then by halving
    around the best. The measure of a try is the inner product of the actual result with μ: lower is worse for the
    federation. Reference: Fang et al., arXiv:1911.11815; Shejwalkar, Houmansadr, NDSS 2021, section IV-B (attacks
    tailored to the rule).
    """

    knowledge = "rule"

    def craft(self, view: RoundView) -> Rows:
        """Return the best row found; the honest mean itself if no deviation does harm.

        Raises:
            ProtocolError: when the view has no rule.
        """
        if view.aggregate is None:
            raise ProtocolError("adaptive attack: the rule is not given → choose an attack that needs no rule")
        aggregate, mean, spread = view.aggregate, view.honest.mean(axis=0), view.honest.std(axis=0)

        def progress(row: Vector) -> float:
            return float(aggregate(repeat(row, view)) @ mean)

        best, least = mean, progress(mean)
        length = float(np.linalg.norm(mean))
        for direction in (-mean, -spread * np.sign(mean), -np.sign(mean)):
            norm = float(np.linalg.norm(direction))
            if not norm:
                continue
            found, value = _line_search(progress, mean, direction * (length / norm))
            if value < least:
                best, least = found, value
        return repeat(best, view)


def _line_search(progress: Callable[[Vector], float], mean: Vector, direction: Vector) -> tuple[Vector, float]:
    """Return the best mean + γ direction, and its progress."""
    tried = {float(factor): progress(mean + factor * direction) for factor in _FIRST_FACTORS}
    best, ratio = min(tried, key=tried.__getitem__), 2.0
    for _ in range(_HALVINGS):
        ratio = ratio**0.5
        for factor in (best / ratio, best * ratio):
            tried[factor] = progress(mean + factor * direction)
        best = min(tried, key=tried.__getitem__)
    return mean + best * direction, tried[best]
