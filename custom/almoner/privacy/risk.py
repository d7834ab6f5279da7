"""What an attacker could do with all that was released: the risk of membership inference, by riskcal.

It holds for events that are fixed in advance, as PLDs do, so it stands beside an account's ε and is never
the claim.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from riskcal.analysis import get_advantage_from_pld, get_beta_from_pld

from almoner.privacy.pld import fixed_distribution
from almoner.schema.receipt import PrivacyEvent, PublicData

FALSE_POSITIVE_RATES = (0.001, 0.01, 0.1)


@dataclass(frozen=True)
class AttackRisk:
    """Bounds on every membership attack that knows all but one unit and the mechanisms.

    Args:
        advantage: the largest (true positive rate - false positive rate) that any attack can have.
        true_positive_rates: the largest true positive rate at each of `FALSE_POSITIVE_RATES`.
    """

    advantage: float
    true_positive_rates: tuple[float, ...]


def attack_risk(events: Iterable[PrivacyEvent]) -> AttackRisk | None:
    """Bound membership inference against events that are fixed in advance.

    *Guarantee*: no attack on one unit, under add-or-remove-one, does better; losses are rounded up onto a
    grid of 1e-3. Where nothing was released an attack can only guess.

    Returns:
        The bounds, or None where a PLD is not affordable (see `pld`).

    Reference: Kulynych, Gomez et al., arXiv:2407.02191, Algorithm 1.
    """
    fixed = tuple(event for event in events if not isinstance(event, PublicData))
    if not fixed:
        return AttackRisk(0.0, FALSE_POSITIVE_RATES)
    distribution = fixed_distribution(fixed)
    if distribution is None:
        return None
    missed = get_beta_from_pld(distribution, alpha=np.array(FALSE_POSITIVE_RATES))
    found = (min(1.0, max(rate, 1.0 - float(beta))) for rate, beta in zip(FALSE_POSITIVE_RATES, missed, strict=True))
    return AttackRisk(min(1.0, max(0.0, float(get_advantage_from_pld(distribution)))), tuple(found))
