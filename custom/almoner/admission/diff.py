"""Says in words what one policy has become tighter or looser in than another."""

from dataclasses import dataclass
from typing import Literal

from almoner.admission.lattice import Policy, policy_bounds
from almoner.schema.policy import SitePolicy


@dataclass(frozen=True)
class Change:
    """One field that differs.

    Args:
        effect: "mixed" if it admits something new and refuses something old; "other" if it cannot be compared.
        words: from what to what.
    """

    field: str
    effect: Literal["tighter", "looser", "mixed", "other"]
    words: str


def _other_changes(before: Policy, after: Policy) -> list[Change]:
    """Compare what has no order: whose policy it is, and what its account protects."""
    if not (isinstance(before, SitePolicy) and isinstance(after, SitePolicy)):
        return []
    pairs = [("site", before.site, after.site)]
    for name in ("population", "privacy_unit", "neighboring_relation"):
        pairs.append((f"accounts.0.{name}", getattr(before.account, name), getattr(after.account, name)))
    return [Change(field, "other", f"from {old} to {new}") for field, old, new in pairs if old != new]


def policy_changes(before: Policy, after: Policy) -> list[Change]:
    """Return every field in which two policies differ, in the order of the document."""
    found, old_bounds = _other_changes(before, after), policy_bounds(before)
    for field, new in policy_bounds(after).items():
        old = old_bounds[field]
        lost, gained = old.beyond(new), new.beyond(old)
        words = f"from {old.words()} to {new.words()}"
        if lost and gained:
            found.append(Change(field, "mixed", f"{words}; new: {gained}; gone: {lost}"))
        elif lost or gained:
            found.append(Change(field, "tighter" if lost else "looser", words))
    return found
