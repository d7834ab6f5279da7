"""A site's policy can only tighten the consortium's floor; this names each field that is looser.

*Guarantee*: if `verify_tightens` passes, then every job that the site's policy admits is admitted by the
floor, taken as a policy of the same site with the same accounts, ledger and clock.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from almoner.admission.bounds import AtLeast, AtLeastInherited, AtMost, Bound, Permission, Pinned, Within, Without
from almoner.admission.rules_submission import windows_text
from almoner.errors import PolicyViolation
from almoner.schema.declarations import Declarations
from almoner.schema.policy import ConsortiumPolicy, Quotas, Require, SitePolicy
from almoner.schema.policy_allow import DAYS, Allow, StatisticsGrant

Policy = SitePolicy | ConsortiumPolicy


@dataclass(frozen=True)
class Loosening:
    """A field of a policy that allows more than another policy does."""

    field: str
    site_value: str
    floor_value: str


def _names(values: tuple[str, ...] | None) -> Within:
    """Return a list of names as a bound."""
    return Within(None if values is None else {value: value for value in values})


_Person = tuple[str, str, str | None]
_Purpose = tuple[str, str | None, str | None]


def _covers_person(wide: _Person, narrow: _Person) -> bool:
    """Say whether a grant to all users of a role and organisation, or to one, covers another."""
    return wide[:2] == narrow[:2] and wide[2] in (None, narrow[2])


def _covers_purpose(wide: _Purpose, narrow: _Purpose) -> bool:
    """Say whether a purpose until a day (in ISO form, so that text sorts as time) covers another."""
    if wide[0] != narrow[0] or wide[1] not in (None, narrow[1]):
        return False
    return wide[2] is None or (narrow[2] is not None and narrow[2] <= wide[2])


def _submitters(allow: Allow) -> Within:
    """Return who is admitted, as "role of org", or by name."""
    grants: dict[Hashable, str] = {}
    for rule in allow.submitters:
        for org in rule.orgs:
            for user in rule.users or (None,):
                grants[(rule.role, org, user)] = f"{rule.role} of {org}" + (f" named {user}" if user else "")
    return Within(grants, _covers_person)


def _purposes(allow: Allow) -> Within:
    """Return the purposes, with their ends."""
    if allow.purposes is None:
        return Within(None)
    grants: dict[Hashable, str] = {}
    for grant in allow.purposes:
        until = grant.until.isoformat() if grant.until else None
        text = f"{grant.study} for " + (f"'{grant.purpose}'" if grant.purpose else "any purpose")
        grants[(grant.study, grant.purpose, until)] = text + (f" until {until}" if until else "")
    return Within(grants, _covers_purpose)


def _windows(allow: Allow) -> Within:
    """Return the hours of the week."""
    if allow.windows is None:
        return Within(None)
    cells = {cell for window in allow.windows for cell in window.cells}
    return Within({(day, hour): f"{DAYS[day]} {hour:02d} h" for day, hour in cells}, text=windows_text(allow.windows))


def _allow_bounds(allow: Allow) -> dict[str, Bound]:
    """Return the fields of `allow`."""
    return {
        "allow.submitters": _submitters(allow),
        "allow.studies": _names(allow.studies),
        "allow.workloads": _names(allow.workloads),
        "allow.datasets": _names(allow.datasets),
        "allow.purposes": _purposes(allow),
        "allow.workload_digests": Pinned(allow.workload_digests or {}, allow.workloads),
        "allow.initial_weights": Pinned(allow.initial_weights or {}, allow.workloads),
        "allow.releases": _names(allow.releases),
        "allow.mechanisms": _names(allow.admitted_mechanisms),
        "allow.windows": _windows(allow),
        **_statistics_bounds(allow.statistics),
        "allow.psi": AtMost(allow.psi.max_identifiers if allow.psi else 0),
    }


def _statistics_bounds(grant: StatisticsGrant | None) -> dict[str, Bound]:
    """Return the fields of `allow.statistics`; none given admits none."""
    return {
        "allow.statistics.trust": _names(grant.trust if grant else ()),
        "allow.statistics.max_cells": AtMost(grant.max_cells if grant else 0),
    }


def _quota_bounds(quotas: Quotas) -> dict[str, Bound]:
    """Return the fields of `quotas`; fewer dead jobs and more days make the longer pause."""
    pause = quotas.pause
    return {
        "quotas.budget_share_per_month": AtMost(quotas.budget_share_per_month),
        "quotas.budget_share_per_study": AtMost(quotas.budget_share_per_study),
        "quotas.budget_share_per_submitter": AtMost(quotas.budget_share_per_submitter),
        "quotas.jobs_per_day_per_study": AtMost(quotas.jobs_per_day_per_study),
        "quotas.jobs_per_day_per_submitter": AtMost(quotas.jobs_per_day_per_submitter),
        "quotas.pause.after_dead_jobs": AtMost(pause.after_dead_jobs if pause else None),
        "quotas.pause.days": AtLeast(pause.days if pause else None),
    }


def _require_bounds(require: Require) -> dict[str, Bound]:
    """Return the fields of `require`."""
    approval = require.manual_approval
    return {
        "require.min_sites": AtLeast(require.min_sites),
        "require.min_sites_per_sum": AtLeastInherited(require.sites_per_sum, require.min_sites_per_sum is not None),
        "require.protection": _names(require.protection),
        "require.min_nominal_records": AtLeast(require.min_nominal_records),
        "require.min_colluding_sites": AtLeast(require.min_colluding_sites),
        "require.min_byzantine_sites": AtLeast(require.min_byzantine_sites),
        "require.trust_models": _names(require.trust_models),
        "require.manual_approval.roles": _names(approval.roles if approval else None),
        "require.manual_approval.max_days": AtMost(approval.max_days if approval else None),
    }


def _account_bounds(policy: Policy, num_accounts: int) -> dict[str, Bound]:
    """Return cap and δ of each account; the floor's hold for every one of so many."""
    if isinstance(policy, SitePolicy):
        figures = [(account.epsilon_cap, account.delta) for account in policy.accounts]
    else:
        figures = [(policy.accounts.max_epsilon_cap, policy.accounts.max_delta)] * num_accounts
    bounds: dict[str, Bound] = {}
    for index, (cap, delta) in enumerate(figures):
        bounds |= {f"accounts.{index}.epsilon_cap": AtMost(cap), f"accounts.{index}.delta": AtMost(delta)}
    return bounds


def policy_bounds(policy: Policy, num_accounts: int = 1) -> dict[str, Bound]:
    """Return every field of a policy that the lattice compares, by its dotted path in a site's policy.

    Args:
        num_accounts: for how many accounts a floor's bounds are wanted; a site's policy has its own.
    """
    return {
        **_account_bounds(policy, num_accounts),
        "limits.epsilon_per_job": AtMost(policy.limits.epsilon_per_job),
        "limits.min_noise_multiplier": AtLeast(policy.limits.min_noise_multiplier),
        "limits.max_sampling_prob": AtMost(policy.limits.max_sampling_prob),
        "limits.max_rounds": AtMost(policy.limits.max_rounds),
        "limits.max_steps": AtMost(policy.limits.max_steps),
        "limits.max_validity_days": AtMost(policy.limits.validity_days),
        **_quota_bounds(policy.quotas),
        **_allow_bounds(policy.allow),
        **_require_bounds(policy.require),
        "release_final_model": Permission(policy.release_final_model),
        "revoked": Without({one.certificate_sha256: one.since for one in policy.revoked}),
    }


def loosenings(policy: SitePolicy, floor: ConsortiumPolicy) -> list[Loosening]:
    """Compare every field of a policy with its floor; what the floor revokes is revoked at every site."""
    bounds = policy_bounds(floor, len(policy.accounts))
    return [
        Loosening(field, beyond, bounds[field].words())
        for field, bound in policy_bounds(policy.under(floor)).items()
        if (beyond := bound.beyond(bounds[field]))
    ]


def verify_tightens(policy: SitePolicy, floor: ConsortiumPolicy, source: str) -> None:
    """Check that a policy is nowhere looser than its floor.

    Raises:
        PolicyViolation: naming the file, the first looser field, both values, and how many more there are.
    """
    found = loosenings(policy, floor)
    if found:
        first, more = found[0], len(found) - 1
        text = (
            f"{source}: {first.field}: {first.site_value} is looser than the consortium's floor ({first.floor_value})"
        )
        raise PolicyViolation(text + " → tighten it" + (f" (and {more} more)" if more else ""))


def verify_policies(root: Path, declarations: Declarations) -> None:
    """Check every site's policy of a consortium against its floor.

    Args:
        root: the folder of declarations; for the texts of errors.

    Raises:
        PolicyViolation: naming file and field.
    """
    for site, policy in declarations.policies.items():
        verify_tightens(policy, declarations.floor, str(declarations.policy_path(root, site)))
