"""Says in words what one policy has become tighter or looser in than another."""

from dataclasses import dataclass, replace
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
    """Compare what has no order: whose policy it is, and what its accounts protect."""
    if not (isinstance(before, SitePolicy) and isinstance(after, SitePolicy)):
        return []
    pairs = [("site", before.site, after.site)]
    for index, (old, new) in enumerate(zip(before.accounts, after.accounts, strict=True)):
        for name in ("population", "privacy_unit", "neighboring_relation"):
            pairs.append((f"accounts.{index}.{name}", getattr(old, name), getattr(new, name)))
    return [Change(field, "other", f"from {old} to {new}") for field, old, new in pairs if old != new]


def _number(policy: Policy) -> int:
    """Return how many accounts a policy names; a floor names none, and bounds one."""
    return len(policy.accounts) if isinstance(policy, SitePolicy) else 1


def _field_changes(before: Policy, after: Policy) -> list[Change]:
    """Compare two policies with equally many accounts, one by one; or a policy with a floor."""
    number = max(_number(before), _number(after))
    found, old_bounds = _other_changes(before, after), policy_bounds(before, number)
    for field, new in policy_bounds(after, number).items():
        old = old_bounds[field]
        lost, gained = old.beyond(new), new.beyond(old)
        words = f"from {old.words()} to {new.words()}"
        if lost and gained:
            found.append(Change(field, "mixed", f"{words}; new: {gained}; gone: {lost}"))
        elif lost or gained:
            found.append(Change(field, "tighter" if lost else "looser", words))
    return found


def _changes_by_population(before: SitePolicy, after: SitePolicy) -> list[Change]:
    """Compare policies with several accounts: one account with the other of its population, whatever their order."""
    old, new = ({account.population: account for account in policy.accounts} for policy in (before, after))
    both = [name for name in old if name in new]
    found = [Change(f"accounts.{name}", "tighter", "this account is gone") for name in old if name not in new]
    for name, account in new.items():
        if name not in old:
            words = f"a new account: ε at most {account.epsilon_cap}, δ at most {account.delta}"
            found.append(Change(f"accounts.{name}", "looser", words))
    matched = (
        policy.model_copy(update={"accounts": tuple(accounts[name] for name in both)})
        for policy, accounts in ((before, old), (after, new))
    )
    for change in _field_changes(*matched):
        block, _, rest = change.field.partition(".")
        index, _, field = rest.partition(".")
        named = f"accounts.{both[int(index)]}.{field}" if block == "accounts" else change.field
        found.append(replace(change, field=named))
    return found


def policy_changes(before: Policy, after: Policy) -> list[Change]:
    """Return every field in which two policies differ, in the order of the document.

    Accounts go by their number, or by their population where one of two sites' policies has several.
    """
    several = max(_number(before), _number(after)) > 1
    if several and isinstance(before, SitePolicy) and isinstance(after, SitePolicy):
        return _changes_by_population(before, after)
    return _field_changes(before, after)
