"""The Rényi filter: decides whether a charge still fits an account, and says what the account has spent.

Charges, sums and budgets are multiples of 2^-40 (charges rounded up, budgets down). Such numbers add
and subtract exactly in floating point up to 8192, so no order of charges and refunds can drift.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from almoner.errors import AlmonerError, PolicyViolation
from almoner.privacy.rdp import conversion_loss, total_rdp
from almoner.schema.receipt import PrivacyEvent

CHARGE_GRID = 2.0**-40
MAX_CHARGE = 1000.0
"""Larger charges fit no budget (those stay below 200) and are left as they are."""
MAX_ORDER = 512


def charge_of(events: Iterable[PrivacyEvent], order: int) -> float:
    """Return what events are charged at an order: their RDP, rounded up to a multiple of 2^-40.

    *Guarantee*: at least the Rényi divergence of the events at `order`, under add-or-remove-one.
    """
    divergence = total_rdp(events, order)
    return math.ceil(divergence / CHARGE_GRID) * CHARGE_GRID if divergence <= MAX_CHARGE else divergence


@dataclass(frozen=True)
class RenyiFilter:
    """A filter at one integer order: lets charges pass while their sum stays within the budget B.

    *Guarantee*: whatever is let through, chosen adaptively and in any interleaving, is together
    (epsilon_cap, delta)-DP for one unit under add-or-remove-one.

    Args:
        epsilon_cap: ε that the account may ever spend.
        delta: δ of the account.
        order: α, an integer of at least 2, fixed for the account's life.
        budget: B = ε - ln((α-1)/α) + (ln δ + ln α)/(α-1), rounded down; computed, not given.

    Raises:
        PolicyViolation: when the parameters leave no budget at this order.

    Reference: Feldman, Zrnic, arXiv:2008.11193; Lécuyer, arXiv:2103.01379; concurrent jobs: Haney et al.,
        arXiv:2309.05901; conversion: Canonne, Kamath, Steinke, arXiv:2004.00010, Proposition 12.
    """

    epsilon_cap: float
    delta: float
    order: int
    budget: float = field(init=False)

    def __post_init__(self) -> None:
        where = f"account with epsilon_cap={self.epsilon_cap:g}, delta={self.delta:g}"
        if not (0 < self.epsilon_cap <= 100 and 0 < self.delta < 1 and type(self.order) is int and self.order >= 2):
            raise PolicyViolation(f"{where} at order {self.order!r} is out of range → correct the policy's accounts")
        budget = self.epsilon_cap - conversion_loss(self.order, self.delta)
        if budget < CHARGE_GRID:
            raise PolicyViolation(f"{where} has no budget at order {self.order} → raise epsilon_cap or delta")
        object.__setattr__(self, "budget", math.floor(budget / CHARGE_GRID) * CHARGE_GRID)

    def fits(self, spent: float, charge: float) -> bool:
        """Say whether a charge fits beside what is spent; never for negative or non-finite numbers."""
        return spent >= 0 and charge >= 0 and spent + charge <= self.budget

    def epsilon_of(self, rdp_sum: float) -> float:
        """Convert a sum of charges into ε at the account's δ: the claim for all of them together.

        *Guarantee*: 0 when nothing was charged, and at most `epsilon_cap` for every sum within the budget.
        """
        if not rdp_sum >= 0:
            raise AlmonerError(f"sum of charges {rdp_sum!r} is negative or not a number → verify the ledger")
        if rdp_sum == 0:
            return 0.0
        epsilon = max(0.0, rdp_sum + conversion_loss(self.order, self.delta))
        return min(epsilon, self.epsilon_cap) if rdp_sum <= self.budget else epsilon


def open_filter(epsilon_cap: float, delta: float) -> RenyiFilter:
    """Open a filter at the integer order α that maximises B(α)/α, the smallest one of equals.

    That order lets the most plain Gaussian noise through, whose charge grows as α: 6 at ε=3, δ=1e-4.

    Raises:
        PolicyViolation: when no order up to 512 leaves a budget.
    """

    def share(order: int) -> float:
        return (epsilon_cap - conversion_loss(order, delta)) / order

    if not (epsilon_cap > 0 and 0 < delta < 1):
        raise PolicyViolation(f"account with epsilon_cap={epsilon_cap:g}, delta={delta:g} is out of range → correct it")
    return RenyiFilter(epsilon_cap, delta, max(range(2, MAX_ORDER + 1), key=share))
