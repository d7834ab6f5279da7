"""The lattice of policies: equal is not looser, each single loosening is named, no tightening is."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from admission_cases import DECLARATIONS, SITE
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from almoner.admission.lattice import Loosening, loosenings, verify_tightens
from almoner.errors import PolicyViolation
from almoner.schema.declarations import Declarations
from almoner.schema.policy import Allow, ConsortiumPolicy, Limits, Require, SitePolicy

NAMES = st.from_regex(r"\A[a-z][a-z0-9_-]{0,8}\Z")
PROTECTIONS = ("plain", "he", "secagg", "robust")

FLOORS = st.builds(
    lambda cap, delta, job, noise, q, rounds, subs, studies, workloads, sites, kinds, release: {
        "schema_version": 1,
        "consortium": "c",
        "accounts": {"max_epsilon_cap": cap, "max_delta": delta},
        "limits": {"epsilon_per_job": job, "min_noise_multiplier": noise, "max_sampling_prob": q, "max_rounds": rounds},
        "allow": {
            "submitters": tuple({"role": role, "orgs": tuple(orgs)} for role, orgs in subs.items()),
            "studies": tuple(studies),
            "workloads": tuple(workloads),
        },
        "require": {"min_sites": sites, "protection": tuple(kinds)},
        "release_final_model": release,
    },
    st.floats(1e-6, 99),
    st.floats(1e-12, 0.09),
    st.floats(1e-6, 99),
    st.floats(1e-3, 999),
    st.floats(1e-6, 0.99),
    st.integers(1, 9_999),
    st.dictionaries(NAMES, st.lists(NAMES, min_size=1, max_size=3, unique=True), min_size=1, max_size=3),
    st.lists(NAMES, max_size=3, unique=True),
    st.lists(NAMES, max_size=3, unique=True),
    st.integers(2, 50),
    st.lists(st.sampled_from(PROTECTIONS[:3]), min_size=1, max_size=3, unique=True),
    st.booleans(),
)

Fields = dict[str, Any]


def equal_policy(floor: Fields) -> Fields:
    """Return a site's policy that allows exactly what the floor does."""
    account = {
        "population": "p",
        "privacy_unit": "patient",
        "neighboring_relation": "add_or_remove_one",
        "epsilon_cap": floor["accounts"]["max_epsilon_cap"],
        "delta": floor["accounts"]["max_delta"],
    }
    shared = {name: floor[name] for name in ("limits", "allow", "require", "release_final_model")}
    return {"schema_version": 1, "site": "s", "extends": "consortium", "accounts": (account,), **shared}


def put(policy: Fields, path: str, change: Callable[[Any], Any]) -> Fields:
    """Return a policy with the value under a dotted path changed."""
    head, _, rest = path.partition(".")
    if isinstance(policy, tuple):
        return tuple(put(item, rest, change) if rest else change(item) for item in policy)  # type: ignore[return-value]
    return {**policy, head: put(policy[head], rest, change) if rest else change(policy[head])}


def more(value: float) -> float:
    return value + 1 if isinstance(value, int) else math.nextafter(value, math.inf)


def less(value: float) -> float:
    return value - 1 if isinstance(value, int) else math.nextafter(value, 0)


def one_more_submitter(rules: tuple[Fields, ...]) -> tuple[Fields, ...]:
    return (*rules, {"role": rules[0]["role"], "orgs": ("zz-another-org",)})


LOOSEN: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "accounts.0.epsilon_cap": ("accounts.0.epsilon_cap", more),
    "accounts.0.delta": ("accounts.0.delta", more),
    "limits.epsilon_per_job": ("limits.epsilon_per_job", more),
    "limits.min_noise_multiplier": ("limits.min_noise_multiplier", less),
    "limits.max_sampling_prob": ("limits.max_sampling_prob", more),
    "limits.max_rounds": ("limits.max_rounds", more),
    "allow.submitters": ("allow.submitters", one_more_submitter),
    "allow.studies": ("allow.studies", lambda names: (*names, "zz-another")),
    "allow.workloads": ("allow.workloads", lambda names: (*names, "zz-another")),
    "require.min_sites": ("require.min_sites", less),
    "require.protection": ("require.protection", lambda kinds: (*kinds, "robust")),
}
"""By the name that the loosening must carry: where, and by the least step that there is."""

TIGHTEN: dict[str, Callable[[Any], Any]] = {
    "accounts.0.epsilon_cap": lambda value: max(1e-6, less(value)),
    "accounts.0.delta": less,
    "limits.epsilon_per_job": lambda value: max(1e-6, less(value)),
    "limits.min_noise_multiplier": more,
    "limits.max_sampling_prob": less,
    "limits.max_rounds": lambda value: max(1, value - 1),
    "allow.submitters": lambda rules: rules[:1],
    "allow.studies": lambda names: names[1:],
    "allow.workloads": lambda names: names[1:],
    "require.min_sites": lambda value: min(50, value + 1),
    "require.protection": lambda kinds: kinds[:1],
    "release_final_model": lambda value: False,
}


def found(policy: Fields, floor: Fields) -> list[str]:
    site, base = SitePolicy.model_validate(policy), ConsortiumPolicy.model_validate(floor)
    return [loosening.field for loosening in loosenings(site, base)]


@given(FLOORS)
def test_a_policy_equal_to_the_floor_is_nowhere_looser(floor: Fields) -> None:
    assert found(equal_policy(floor), floor) == []


@given(FLOORS, st.sampled_from(sorted(LOOSEN)))
def test_each_single_loosening_is_found_and_named(floor: Fields, name: str) -> None:
    path, change = LOOSEN[name]
    assert found(put(equal_policy(floor), path, change), floor) == [name]


@given(FLOORS)
def test_releasing_the_model_is_a_loosening_where_the_floor_does_not(floor: Fields) -> None:
    policy = put(equal_policy(floor), "release_final_model", lambda value: True)
    assert found(policy, floor) == ([] if floor["release_final_model"] else ["release_final_model"])


@given(FLOORS, st.sets(st.sampled_from(sorted(TIGHTEN))))
def test_no_tightening_is_a_loosening(floor: Fields, names: set[str]) -> None:
    policy = equal_policy(floor)
    for name in names:
        policy = put(policy, name, TIGHTEN[name])
    assert found(policy, floor) == []


@given(FLOORS, st.sets(st.sampled_from(sorted(LOOSEN)), min_size=1))
def test_all_loosenings_are_found_together(floor: Fields, names: set[str]) -> None:
    policy = equal_policy(floor)
    for name in names:
        policy = put(policy, *LOOSEN[name])
    assert sorted(found(policy, floor)) == sorted(names)


def test_every_field_of_a_policy_can_be_loosened_and_tightened_in_these_tests() -> None:
    def leaves(prefix: str, model: type[BaseModel]) -> set[str]:
        return {f"{prefix}.{name}" for name in model.model_fields}

    fields = {"release_final_model", "accounts.0.epsilon_cap", "accounts.0.delta"}
    fields |= leaves("limits", Limits) | leaves("allow", Allow) | leaves("require", Require)
    assert set(TIGHTEN) == fields
    assert set(LOOSEN) | {"release_final_model"} == fields
    assert set(SitePolicy.model_fields) == {
        "schema_version", "site", "extends", "accounts", "limits", "allow", "require", "release_final_model",
    }  # fmt: skip


def test_a_role_of_another_org_is_a_loosening() -> None:
    floor = {"submitters": ({"role": "lead", "orgs": ("a", "b")}, {"role": "member", "orgs": ("c",)})}
    policy = DECLARATIONS.policies[SITE].model_copy(
        update={"allow": Allow.model_validate({**floor, "submitters": ({"role": "member", "orgs": ("a", "c")},),
                                               "studies": (), "workloads": ()})}
    )  # fmt: skip
    base = DECLARATIONS.floor.model_copy(
        update={"allow": Allow.model_validate({**floor, "studies": (), "workloads": ()})}
    )
    assert loosenings(policy, base) == [
        Loosening("allow.submitters", "member of a", "only lead of a, lead of b, member of c")
    ]


def test_the_checkouts_policies_tighten_its_floor(declarations: Declarations) -> None:
    for site, policy in declarations.policies.items():
        verify_tightens(policy, declarations.floor, site)


def test_the_error_names_file_field_and_both_values_in_one_line() -> None:
    policy = DECLARATIONS.policies[SITE]
    looser = policy.model_copy(
        update={
            "limits": policy.limits.model_copy(update={"epsilon_per_job": math.nextafter(1.5, 2), "max_rounds": 51})
        }
    )
    with pytest.raises(PolicyViolation) as caught:
        verify_tightens(looser, DECLARATIONS.floor, "policies/switzerland.yaml")
    assert str(caught.value) == (
        "policies/switzerland.yaml: limits.epsilon_per_job: 1.5000000000000002 is looser than the consortium's floor "
        "(at most 1.5) → tighten it (and 1 more)"
    )
