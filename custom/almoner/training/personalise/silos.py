"""A site's records behind a meter: noised steps that were charged, and no others."""

from dataclasses import dataclass

from almoner.errors import BudgetExceeded
from almoner.training.units import UnitRecords


@dataclass(frozen=True, slots=True, eq=False)
class Silo:
    """What one site trains on.

    Args:
        data: its training records.
        nominal_records: its declared number of training units, public.
    """

    data: UnitRecords
    nominal_records: int


class Meter:
    """Counts the noised steps of one site.

    Guarantee: at most `charged` steps are let through, whatever a method asks.

    Args:
        charged: how many steps the site was charged.
    """

    def __init__(self, charged: int) -> None:
        self._charged, self._taken = charged, 0

    @property
    def taken(self) -> int:
        """How many steps were let through."""
        return self._taken

    def take(self, steps: int) -> None:
        """Count steps, before they touch data.

        Raises:
            BudgetExceeded: when they are more than is left; none of them is counted.
        """
        if self._taken + steps > self._charged:
            raise BudgetExceeded(
                f"personalisation: step {self._taken + steps} of a site that was charged {self._charged}"
                " → state all steps in the method's num_steps"
            )
        self._taken += steps
