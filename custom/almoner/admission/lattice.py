"""A site's policy can only tighten the consortium's floor; this names each field that is looser."""

from dataclasses import dataclass

from almoner.errors import PolicyViolation
from almoner.schema.policy import ConsortiumPolicy, SitePolicy


@dataclass(frozen=True)
class Loosening:
    """A field of a site's policy that allows more than the floor does."""

    field: str
    site_value: str
    floor_value: str


def loosenings(policy: SitePolicy, floor: ConsortiumPolicy) -> list[Loosening]:
    """Compare every field of a policy with its floor."""
    found: list[Loosening] = []

    def at_most(field: str, value: float, bound: float) -> None:
        if value > bound:
            found.append(Loosening(field, str(value), f"at most {bound}"))

    def at_least(field: str, value: float, bound: float) -> None:
        if value < bound:
            found.append(Loosening(field, str(value), f"at least {bound}"))

    def within(field: str, values: set[str], bound: set[str]) -> None:
        if extra := sorted(values - bound):
            found.append(Loosening(field, ", ".join(extra), "only " + ", ".join(sorted(bound))))

    for index, account in enumerate(policy.accounts):
        at_most(f"accounts.{index}.epsilon_cap", account.epsilon_cap, floor.accounts.max_epsilon_cap)
        at_most(f"accounts.{index}.delta", account.delta, floor.accounts.max_delta)
    at_most("limits.epsilon_per_job", policy.limits.epsilon_per_job, floor.limits.epsilon_per_job)
    at_least("limits.min_noise_multiplier", policy.limits.min_noise_multiplier, floor.limits.min_noise_multiplier)
    at_most("limits.max_sampling_prob", policy.limits.max_sampling_prob, floor.limits.max_sampling_prob)
    at_most("limits.max_rounds", policy.limits.max_rounds, floor.limits.max_rounds)
    within("allow.submitters", _submitter_pairs(policy), _submitter_pairs(floor))
    within("allow.studies", set(policy.allow.studies), set(floor.allow.studies))
    within("allow.workloads", set(policy.allow.workloads), set(floor.allow.workloads))
    at_least("require.min_sites", policy.require.min_sites, floor.require.min_sites)
    within("require.protection", set(policy.require.protection), set(floor.require.protection))
    if policy.release_final_model and not floor.release_final_model:
        found.append(Loosening("release_final_model", "true", "false"))
    return found


def _submitter_pairs(policy: SitePolicy | ConsortiumPolicy) -> set[str]:
    """Return who is admitted, as "role of org"."""
    return {f"{rule.role} of {org}" for rule in policy.allow.submitters for org in rule.orgs}


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
