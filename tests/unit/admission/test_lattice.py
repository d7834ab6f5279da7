"""The lattice of policies: equal is not looser, each single loosening is named, no tightening is."""

import math
from collections.abc import Callable
from datetime import date, timedelta
from string import ascii_lowercase as LETTERS
from string import digits
from typing import Any

import pytest
from admission_cases import DECLARATIONS, SITE
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from almoner.admission.diff import policy_changes
from almoner.admission.lattice import Loosening, loosenings, policy_bounds, verify_tightens
from almoner.errors import PolicyViolation
from almoner.schema.declarations import Declarations
from almoner.schema.policy import ConsortiumPolicy, Limits, ManualApproval, Pause, Quotas, Require, SitePolicy
from almoner.schema.policy_allow import Allow, StatisticsGrant
from almoner.schema.revocation import Revocation

NAMES = st.builds(str.__add__, st.sampled_from(LETTERS), st.text(f"{LETTERS}{digits}_-", max_size=8))
PROTECTIONS = ("plain", "he", "secagg", "robust")
DIGESTS = tuple(letter * 64 for letter in "abc")
FEW_NAMES = st.lists(NAMES, min_size=1, max_size=3, unique=True).map(tuple)
FEW_DIGESTS = st.lists(st.sampled_from(DIGESTS), min_size=1, max_size=2, unique=True).map(tuple)
LAST_DAY = date(2027, 12, 31)
NAMED = "a@b.example"
WINDOW = {"days": ("mon", "wed"), "from_hour": 8, "to_hour": 18}


@st.composite
def floors(draw: st.DrawFn) -> "Fields":
    """Draw a floor in which every field is set, with room on both sides of it."""
    roles = draw(st.dictionaries(NAMES, FEW_NAMES, min_size=1, max_size=3))
    studies, workloads = draw(FEW_NAMES), draw(FEW_NAMES)
    share, count = st.floats(0.01, 0.99), st.integers(1, 99)
    submitters = [{"role": role, "orgs": orgs, "users": None} for role, orgs in roles.items()]
    submitters[0]["users"] = draw(st.sampled_from([None, (NAMED,)]))
    return {
        "schema_version": 1,
        "consortium": "c",
        "accounts": {"max_epsilon_cap": draw(st.floats(1e-6, 99)), "max_delta": draw(st.floats(1e-12, 0.09))},
        "limits": {
            "epsilon_per_job": draw(st.floats(1e-6, 99)),
            "min_noise_multiplier": draw(st.floats(1e-3, 999)),
            "max_sampling_prob": draw(st.floats(1e-6, 0.99)),
            "max_rounds": draw(st.integers(1, 9_999)),
            "max_steps": draw(count),
            "max_validity_days": draw(st.integers(2, 365)),
        },
        "quotas": {
            "budget_share_per_month": draw(share),
            "budget_share_per_study": draw(share),
            "budget_share_per_submitter": draw(share),
            "jobs_per_day_per_study": draw(count),
            "jobs_per_day_per_submitter": draw(count),
            "pause": {"after_dead_jobs": draw(count), "days": draw(st.integers(2, 99))},
        },
        "allow": {
            "submitters": tuple(submitters),
            "studies": studies,
            "workloads": workloads,
            "datasets": draw(FEW_NAMES),
            "purposes": ({"study": studies[0], "purpose": draw(st.sampled_from([None, "x"])), "until": LAST_DAY},),
            "workload_digests": {workloads[0]: draw(FEW_DIGESTS)},
            "initial_weights": {workloads[0]: draw(FEW_DIGESTS)},
            "releases": draw(st.sampled_from([(), ("accuracy",)])),
            "mechanisms": draw(st.sampled_from([("dp_sgd",), ("dp_sgd", "distributed_dp")])),
            "windows": (WINDOW,),
            "psi": None,
            "statistics": {"trust": ("local",), "max_cells": draw(st.integers(2, 99))},
        },
        "require": {
            "min_sites": draw(st.integers(2, 50)),
            "min_sites_per_sum": draw(st.integers(2, 49)),
            "protection": tuple(draw(st.sets(st.sampled_from(PROTECTIONS[:3]), min_size=1))),
            "min_nominal_records": draw(st.integers(2, 99)),
            "min_colluding_sites": draw(st.integers(2, 49)),
            "min_byzantine_sites": draw(st.integers(2, 23)),
            "trust_models": ("semi_honest_server",),
            "manual_approval": {"roles": draw(FEW_NAMES), "max_days": draw(st.integers(1, 365))},
        },
        "release_final_model": draw(st.booleans()),
        "revoked": ({"certificate_sha256": "a" * 64, "since": LAST_DAY, "reason": "stolen"},),
    }


FLOORS = floors()

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
    shared = {name: floor[name] for name in ("limits", "quotas", "allow", "require", "release_final_model", "revoked")}
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


def drop(value: Any) -> None:
    """Leave a field out, which is as loose as can be."""


def one_more_submitter(rules: tuple[Fields, ...]) -> tuple[Fields, ...]:
    return (*rules, {**rules[0], "orgs": ("zz-another-org",)})


def one_more_digest(pins: Fields) -> Fields:
    return {name: (*digests, "d" * 64) for name, digests in pins.items()}


def a_day_more(grants: tuple[Fields, ...]) -> tuple[Fields, ...]:
    return tuple({**grant, "until": grant["until"] + timedelta(days=1)} for grant in grants)


def an_hour_more(windows: tuple[Fields, ...]) -> tuple[Fields, ...]:
    return tuple({**window, "to_hour": window["to_hour"] + 1} for window in windows)


LOOSEN: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "accounts.0.epsilon_cap": ("accounts.0.epsilon_cap", more),
    "accounts.0.delta": ("accounts.0.delta", more),
    "limits.epsilon_per_job": ("limits.epsilon_per_job", more),
    "limits.min_noise_multiplier": ("limits.min_noise_multiplier", less),
    "limits.max_sampling_prob": ("limits.max_sampling_prob", more),
    "limits.max_rounds": ("limits.max_rounds", more),
    "limits.max_steps": ("limits.max_steps", more),
    "limits.max_validity_days": ("limits.max_validity_days", more),
    "quotas.budget_share_per_month": ("quotas.budget_share_per_month", more),
    "quotas.budget_share_per_study": ("quotas.budget_share_per_study", more),
    "quotas.budget_share_per_submitter": ("quotas.budget_share_per_submitter", more),
    "quotas.jobs_per_day_per_study": ("quotas.jobs_per_day_per_study", more),
    "quotas.jobs_per_day_per_submitter": ("quotas.jobs_per_day_per_submitter", more),
    "quotas.pause.after_dead_jobs": ("quotas.pause.after_dead_jobs", more),
    "quotas.pause.days": ("quotas.pause.days", less),
    "allow.submitters": ("allow.submitters", one_more_submitter),
    "allow.studies": ("allow.studies", lambda names: (*names, "zz-another")),
    "allow.workloads": ("allow.workloads", lambda names: (*names, "zz-another")),
    "allow.datasets": ("allow.datasets", lambda names: (*names, "zz-another")),
    "allow.purposes": ("allow.purposes", a_day_more),
    "allow.workload_digests": ("allow.workload_digests", one_more_digest),
    "allow.initial_weights": ("allow.initial_weights", one_more_digest),
    "allow.mechanisms": ("allow.mechanisms", lambda kinds: (*kinds, "none")),
    "allow.windows": ("allow.windows", an_hour_more),
    "allow.psi": ("allow.psi", lambda grant: {"max_identifiers": 1}),
    "allow.statistics.trust": ("allow.statistics.trust", lambda kinds: (*kinds, "distributed")),
    "allow.statistics.max_cells": ("allow.statistics.max_cells", more),
    "require.min_sites": ("require.min_sites", less),
    "require.min_sites_per_sum": ("require.min_sites_per_sum", less),
    "require.protection": ("require.protection", lambda kinds: (*kinds, "robust")),
    "require.min_nominal_records": ("require.min_nominal_records", less),
    "require.min_colluding_sites": ("require.min_colluding_sites", less),
    "require.min_byzantine_sites": ("require.min_byzantine_sites", less),
    "require.trust_models": ("require.trust_models", lambda models: (*models, "trusted_server")),
    "require.manual_approval.roles": ("require.manual_approval.roles", lambda names: (*names, "zz-another")),
    "require.manual_approval.max_days": ("require.manual_approval.max_days", more),
}
"""By the name that the loosening must carry: where, and by the least step that there is."""

LEFT_OUT = sorted(
    [name for name in LOOSEN if name.startswith("quotas.") and "pause" not in name]
    + [
        "limits.max_steps",
        "allow.datasets",
        "allow.purposes",
        "allow.workload_digests",
        "allow.initial_weights",
        "allow.releases",
        "allow.windows",
        "allow.statistics.max_cells",
    ]
    + ["require.min_nominal_records", "require.min_colluding_sites", "require.min_byzantine_sites"]
    + ["require.trust_models"]
)
"""Fields that a policy may leave out, each compared under its own name."""

TIGHTEN: dict[str, Callable[[Any], Any]] = {
    "accounts.0.epsilon_cap": lambda value: max(1e-6, less(value)),
    "accounts.0.delta": less,
    "limits.epsilon_per_job": lambda value: max(1e-6, less(value)),
    "limits.min_noise_multiplier": more,
    "limits.max_sampling_prob": less,
    "limits.max_rounds": lambda value: max(1, value - 1),
    "limits.max_steps": lambda value: max(1, value - 1),
    "limits.max_validity_days": less,
    "quotas.budget_share_per_month": less,
    "quotas.budget_share_per_study": less,
    "quotas.budget_share_per_submitter": less,
    "quotas.jobs_per_day_per_study": lambda value: max(1, value - 1),
    "quotas.jobs_per_day_per_submitter": lambda value: max(1, value - 1),
    "quotas.pause.after_dead_jobs": lambda value: max(1, value - 1),
    "quotas.pause.days": more,
    "allow.submitters": lambda rules: ({**rules[0], "users": (NAMED,)},),
    "allow.studies": lambda names: names[:1],
    "allow.workloads": lambda names: names[:1],
    "allow.datasets": lambda names: names[:1],
    "allow.purposes": lambda grants: ({**grants[0], "purpose": "x", "until": grants[0]["until"] - timedelta(days=1)},),
    "allow.workload_digests": lambda pins: {name: digests[:1] for name, digests in pins.items()},
    "allow.initial_weights": lambda pins: {name: digests[:1] for name, digests in pins.items()},
    "allow.releases": lambda kinds: (),
    "allow.mechanisms": lambda kinds: kinds[:1],
    "allow.windows": lambda windows: ({**windows[0], "days": ("wed",), "from_hour": 9},),
    "allow.psi": drop,
    "allow.statistics.trust": lambda kinds: kinds[:1],
    "allow.statistics.max_cells": less,
    "require.min_sites": lambda value: min(50, value + 1),
    "require.min_sites_per_sum": more,
    "require.protection": lambda kinds: kinds[:1],
    "require.min_nominal_records": more,
    "require.min_colluding_sites": more,
    "require.min_byzantine_sites": more,
    "require.trust_models": lambda models: models[:1],
    "require.manual_approval.roles": lambda names: names[:1],
    "require.manual_approval.max_days": lambda value: max(1, value - 1),
    "release_final_model": lambda value: False,
    "revoked": lambda listed: (
        {**listed[0], "since": listed[0]["since"] - timedelta(days=1)},
        {**listed[0], "certificate_sha256": "b" * 64},
    ),
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


@given(FLOORS, st.sampled_from(LEFT_OUT))
def test_leaving_a_field_out_is_a_loosening_where_the_floor_has_it(floor: Fields, name: str) -> None:
    assert found(put(equal_policy(floor), name, drop), floor) == [name]


@given(FLOORS, st.sampled_from(LEFT_OUT))
def test_a_restriction_that_the_floor_does_not_have_is_none(floor: Fields, name: str) -> None:
    assert found(equal_policy(floor), put(floor, name, drop)) == []


@given(FLOORS, st.sampled_from(["quotas.pause", "require.manual_approval"]))
def test_leaving_a_block_out_is_named_by_its_fields(floor: Fields, name: str) -> None:
    fields = [field for field in LOOSEN if field.startswith(name)]
    assert found(put(equal_policy(floor), name, drop), floor) == fields
    assert found(equal_policy(floor), put(floor, name, drop)) == []


@given(FLOORS, st.integers(1, 50), st.integers(1, 50))
def test_sums_are_of_min_sites_where_nothing_else_is_written(floor: Fields, least: int, per_sum: int) -> None:
    floor = put(put(floor, "require.min_sites", lambda _: least), "require.min_sites_per_sum", lambda _: per_sum)
    unwritten = put(floor, "require.min_sites_per_sum", drop)
    assert found(equal_policy(unwritten), floor) == ["require.min_sites_per_sum"] * (least < per_sum)
    assert found(equal_policy(floor), unwritten) == ["require.min_sites_per_sum"] * (per_sum < least)
    looser = put(equal_policy(unwritten), "require.min_sites", lambda value: value - 1) if least > 1 else None
    assert looser is None or found(looser, unwritten) == ["require.min_sites"]


@given(FLOORS)
def test_more_releases_are_a_loosening(floor: Fields) -> None:
    policy = put(equal_policy(floor), "allow.releases", lambda kinds: ("accuracy",))
    assert found(policy, put(floor, "allow.releases", lambda kinds: ())) == ["allow.releases"]


@given(FLOORS)
def test_all_users_where_the_floor_names_one_are_a_loosening(floor: Fields) -> None:
    everybody = put(floor, "allow.submitters", lambda rules: ({**rules[0], "users": None},))
    one = put(floor, "allow.submitters", lambda rules: ({**rules[0], "users": (NAMED,)},))
    assert found(equal_policy(everybody), one) == ["allow.submitters"]
    assert found(equal_policy(one), everybody) == []


@given(FLOORS)
def test_a_longer_list_to_compare_with_is_a_loosening(floor: Fields) -> None:
    short, long = (put(floor, "allow.psi", lambda grant, most=most: {"max_identifiers": most}) for most in (10, 11))
    assert found(equal_policy(long), short) == ["allow.psi"]
    assert found(equal_policy(short), long) == []


@pytest.mark.threat("T-03")
@given(FLOORS, st.integers(1, 366))
def test_a_job_is_good_for_a_week_where_nothing_else_is_written(floor: Fields, days: int) -> None:
    """So a policy that was written before there was this bound has one, as a floor and as a site's."""
    written = put(floor, "limits.max_validity_days", lambda _: days)
    silent = put(floor, "limits.max_validity_days", drop)
    assert found(equal_policy(written), silent) == ["limits.max_validity_days"] * (days > 7)
    assert found(equal_policy(silent), written) == ["limits.max_validity_days"] * (days < 7)


@pytest.mark.threat("T-157")
@given(FLOORS, st.dates(LAST_DAY - timedelta(days=2), LAST_DAY + timedelta(days=2)))
def test_what_the_floor_revokes_is_revoked_at_a_site_that_says_nothing_or_a_later_day(floor: Fields, day: date) -> None:
    policy = put(equal_policy(floor), "revoked", lambda listed: ({**listed[0], "since": day},))
    for site in (SitePolicy.model_validate(put(policy, "revoked", lambda _: ())), SitePolicy.model_validate(policy)):
        assert found(site.model_dump(), floor) == []
        [united] = site.under(ConsortiumPolicy.model_validate(floor)).revoked
        assert united.since == min(LAST_DAY, *(one.since for one in site.revoked), LAST_DAY)


def test_a_revocation_that_is_gone_or_later_is_looser() -> None:
    day = {"certificate_sha256": "a" * 64, "since": LAST_DAY, "reason": "stolen"}
    before, later = ((Revocation.model_validate({**day, "since": since}),) for since in (LAST_DAY, date(2028, 1, 1)))
    policies = [DECLARATIONS.policies[SITE].model_copy(update={"revoked": listed}) for listed in (before, later, ())]
    for after, words in ((policies[1], "any but aaaaaaaaaaaaaaaa since 2028-01-01"), (policies[2], "no restriction")):
        [change] = policy_changes(policies[0], after)
        assert (change.field, change.effect) == ("revoked", "looser")
        assert change.words == f"from any but aaaaaaaaaaaaaaaa since 2027-12-31 to {words}"
        [change] = policy_changes(after, policies[0])
        assert change.effect == "tighter"


@pytest.mark.threat("T-83")
@given(FLOORS)
def test_shared_noise_where_the_floor_does_not_name_it_is_a_loosening(floor: Fields) -> None:
    """So a floor that was written before there was shared noise admits none at any site; `none` needs public data."""
    silent = put(floor, "allow.mechanisms", drop)
    shared = put(floor, "allow.mechanisms", lambda kinds: ("dp_sgd", "distributed_dp"))
    assert found(equal_policy(shared), silent) == ["allow.mechanisms"]
    assert found(equal_policy(put(floor, "allow.mechanisms", lambda kinds: ("dp_sgd", "none"))), silent) == []
    assert found(equal_policy(silent), put(floor, "allow.mechanisms", lambda kinds: ("dp_sgd",))) == [
        "allow.mechanisms"
    ]


@given(FLOORS)
def test_statistics_where_the_floor_admits_none_are_a_loosening(floor: Fields) -> None:
    """So a floor that was written before there were statistics admits none at any site."""
    none = put(floor, "allow.statistics", drop)
    assert found(equal_policy(floor), none) == ["allow.statistics.trust", "allow.statistics.max_cells"]
    assert found(equal_policy(none), floor) == []


def test_every_field_of_a_policy_can_be_loosened_and_tightened_in_these_tests() -> None:
    def leaves(prefix: str, model: type[BaseModel], *blocks: str) -> set[str]:
        return {f"{prefix}.{name}" for name in model.model_fields if name not in blocks}

    fields = {"release_final_model", "revoked", "accounts.0.epsilon_cap", "accounts.0.delta"}
    fields |= (
        leaves("limits", Limits) | leaves("allow", Allow, "statistics") | leaves("allow.statistics", StatisticsGrant)
    )
    fields |= leaves("require", Require, "manual_approval")
    fields |= leaves("quotas", Quotas, "pause") | leaves("quotas.pause", Pause)
    fields |= leaves("require.manual_approval", ManualApproval)
    assert set(TIGHTEN) == fields
    assert set(LOOSEN) | {"release_final_model", "allow.releases", "revoked"} == fields
    assert set(policy_bounds(DECLARATIONS.floor)) == fields
    assert set(SitePolicy.model_fields) == {
        "schema_version", "site", "extends", "accounts", "limits", "quotas", "allow", "require", "release_final_model",
        "revoked",
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
