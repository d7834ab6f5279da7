"""What passes the lattice admits nothing that the floor does not: on drawn floors, policies, jobs and histories.

Values come from small pools, so that bounds and jobs meet at the edge. Costs are drawn, not computed: no rule
looks behind them.
"""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from random import Random
from typing import Any

import pytest
from admission_cases import DECLARATIONS, GROUPED, SITE, SPEC, Case, account, past
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from almoner.admission.cost import JobCost
from almoner.admission.decide import ask_rules
from almoner.admission.history import PastJob
from almoner.admission.lattice import loosenings
from almoner.admission.request import ApprovalState, Submitter, WorkloadFacts
from almoner.admission.rule import Question
from almoner.schema.policy import ConsortiumPolicy, SitePolicy

Fields = dict[str, Any]
USERS = ("x@a.example", "y@a.example")
DIGESTS = ("a" * 64, "b" * 64)
SHARES = st.sampled_from([None, 0.2, 0.4, 0.6, 1.0])
COUNTS = st.sampled_from([None, 1, 2, 3])
PINS = st.sampled_from([None, {"v": DIGESTS[:1]}, {"w": DIGESTS[:1]}, {"w": DIGESTS}, {"v": DIGESTS, "w": DIGESTS[1:]}])


def subset(*names: str, least: int = 1) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sets(st.sampled_from(names), min_size=least).map(lambda found: tuple(sorted(found)))


SUBMITTER = st.fixed_dictionaries(
    {"role": st.sampled_from(["lead", "member"]), "orgs": subset("a", "b"), "users": st.none() | subset(*USERS)}
)
PURPOSE = st.fixed_dictionaries(
    {
        "study": st.sampled_from(["s", "t"]),
        "purpose": st.sampled_from([None, "x", "y"]),
        "until": st.sampled_from([None, date(2027, 1, 14), date(2027, 1, 15), date(2027, 1, 16)]),
    }
)
WINDOW = st.fixed_dictionaries(
    {"days": subset("thu", "fri"), "from_hour": st.integers(7, 9), "to_hour": st.integers(10, 11)}
)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "limits.epsilon_per_job": st.sampled_from([1.0, 1.5, 2.0]),
    "limits.min_noise_multiplier": st.sampled_from([0.5, 1.0, 2.0]),
    "limits.max_sampling_prob": st.sampled_from([0.4, 0.5, 0.6]),
    "limits.max_rounds": st.sampled_from([19, 20, 21]),
    "limits.max_steps": st.sampled_from([None, 19, 20, 21]),
    "limits.max_validity_days": st.sampled_from([None, 6, 8]),
    "quotas.budget_share_per_month": SHARES,
    "quotas.budget_share_per_study": SHARES,
    "quotas.budget_share_per_submitter": SHARES,
    "quotas.jobs_per_day_per_study": COUNTS,
    "quotas.jobs_per_day_per_submitter": COUNTS,
    "quotas.pause": st.none()
    | st.fixed_dictionaries({"after_dead_jobs": st.integers(1, 3), "days": st.integers(1, 4)}),
    "allow.submitters": st.lists(SUBMITTER, min_size=1, max_size=3).map(tuple),
    "allow.studies": subset("s", "t"),
    "allow.workloads": subset("v", "w"),
    "allow.datasets": st.none() | subset("cardiology", "d"),
    "allow.purposes": st.none() | st.lists(PURPOSE, min_size=1, max_size=3).map(tuple),
    "allow.workload_digests": PINS,
    "allow.initial_weights": PINS,
    "allow.releases": st.sampled_from([None, (), ("accuracy",)]),
    "allow.mechanisms": st.none() | subset("dp_sgd", "distributed_dp", "none"),
    "allow.windows": st.none() | st.lists(WINDOW, min_size=1, max_size=2).map(tuple),
    "require.min_sites": st.sampled_from([2, 3, 4]),
    "require.protection": subset("plain", "he", "robust", "secagg"),
    "require.min_sites_per_sum": st.sampled_from([None, 3, 4]),
    "require.min_colluding_sites": st.sampled_from([None, 1, 2]),
    "require.min_byzantine_sites": st.sampled_from([None, 1, 2]),
    "require.min_nominal_records": st.sampled_from([None, 31, 32, 33]),
    "require.trust_models": st.none() | subset("trusted_server", "semi_honest_server"),
    "require.manual_approval": st.sampled_from([None, {"roles": ("org_admin",), "max_days": 9}]),
}

LOOSEST: Fields = dict.fromkeys(FIELDS) | {
    "limits.epsilon_per_job": 2.0,
    "limits.min_noise_multiplier": 0.5,
    "limits.max_sampling_prob": 0.6,
    "limits.max_rounds": 21,
    "limits.max_validity_days": 8,
    "allow.submitters": tuple({"role": role, "orgs": ("a", "b"), "users": None} for role in ("lead", "member")),
    "allow.studies": ("s", "t"),
    "allow.workloads": ("v", "w"),
    "require.min_sites": 2,
    "require.protection": ("he", "plain", "robust", "secagg"),
}
"""Lets every drawn job in."""


def document(fields: Fields) -> Fields:
    """Nest dotted fields; pins and purposes of what is not listed are left away, as the schema wants it."""
    nested: Fields = {"limits": {}, "quotas": {}, "allow": {}, "require": {}}
    for path, value in fields.items():
        block, _, name = path.partition(".")
        nested[block][name] = value
    allow = nested["allow"]
    for name in ("workload_digests", "initial_weights"):
        if allow[name] is not None:
            allow[name] = {key: pins for key, pins in allow[name].items() if key in allow["workloads"]}
    if allow["purposes"] is not None:
        kept = tuple(grant for grant in allow["purposes"] if grant["study"] in allow["studies"])
        allow["purposes"] = kept or ({"study": allow["studies"][0], "purpose": "x", "until": None},)
    return {"schema_version": 1, **nested, "release_final_model": True}


def floor_of(fields: Fields) -> ConsortiumPolicy:
    return ConsortiumPolicy.model_validate(
        {**document(fields), "consortium": "c", "accounts": {"max_epsilon_cap": 3.0, "max_delta": 1e-4}}
    )


def site_policy(fields: Fields) -> SitePolicy:
    """Return a site's policy of these fields; the floor's own fields make the floor, taken as a policy."""
    accounts = tuple(found.model_dump() for found in DECLARATIONS.policies[SITE].accounts)
    return SitePolicy.model_validate({**document(fields), "site": SITE, "extends": "consortium", "accounts": accounts})


@st.composite
def tightened(draw: st.DrawFn, path: str) -> tuple[Fields, Fields]:
    """Draw one field of a floor, and a policy that differs from it if the drawn value passes the lattice."""
    floor = LOOSEST | {path: draw(FIELDS[path])}
    policy = LOOSEST | {path: draw(FIELDS[path])}
    assume(not loosenings(site_policy(policy), floor_of(floor)))
    return floor, policy


def draw_past(draw: Random) -> PastJob:
    """Draw an earlier job."""
    return past(
        draw.choice([0.4, 1.5, 2.5, 3.5, 20.0]),
        share=draw.choice([0.0, 0.1, 0.2]),
        committed=draw.choice([3, 21]),
        study=draw.choice(["s", "t", None]),
        submitter=draw.choice([*USERS, None]),
        approval_digest=draw.choice(["", "d"]),
    )


AGGREGATIONS: list[Fields] = [
    {"kind": "plain"},
    {"kind": "he", "num_colluding_sites": 1},
    {"kind": "robust", "rule": "median", "num_byzantine_sites": 1},
    GROUPED,
    GROUPED | {"num_colluding_sites": 2},
]
TWELVE = (SITE, *(f"s{index}" for index in range(11)))


def draw_question(draw: Random) -> Question:
    """Draw a job, who submits it, its cost, and the site's book and clock; the policy is put in later."""
    changes: Fields = {
        "study": draw.choice("st"),
        "workload": draw.choice("vw"),
        "purpose": draw.choice("xy"),
        "rounds": draw.choice([0, 19, 20, 21]),
        "min_sites": draw.choice([2, 3, 4]),
        "aggregation": draw.choice(AGGREGATIONS),
        "releases": draw.choice([[], [{"kind": "accuracy", "epsilon": 0.1}]]),
        "privacy": SPEC.privacy.model_dump() | {"sampling_prob": draw.choice([0.4, 0.5, 0.6])},
    }
    spec = type(SPEC).model_validate_json(json.dumps({**SPEC.model_dump(mode="json"), **changes}))
    facts = WorkloadFacts(draw.choice(DIGESTS), draw.choice(DIGESTS), 17, ("patient",))
    user = draw.choice(USERS)
    sites = TWELVE if spec.grouping else DECLARATIONS.consortium.sites
    case = Case(
        sites=sites,
        study_sites=sites,
        nominal_records=dict.fromkeys(sites, 32),
        spec=spec,
        submitter=Submitter(user, draw.choice("ab"), draw.choice(["lead", "member"])),
        flare_study=spec.study,
        workloads={"v": facts, "w": facts},
        jobs=tuple(draw_past(draw) for _ in range(draw.randrange(4))),
        approval=draw.choice([*APPROVALS, *(ApprovalState("", True, END, name, user, facts.digest) for name in "de")]),
        now=datetime(2027, 1, draw.choice([14, 15]), draw.randrange(7, 12), tzinfo=UTC).timestamp(),
    )
    charge = draw.choice([0.0, 0.1, 0.2]) * account().filter.budget
    cost = JobCost(draw.choice([0.5, 1.0, 2.0]), draw.choice([1.0, 1.5, 2.0]), charge, 1.0, 1.0)
    issued = int(case.now) - 60
    expires = issued + draw.choice([6, 7, 8]) * 86_400
    return Question(case.but(issued=issued, expires=expires).request(), case.site(), cost)


def admitted(question: Question, policy: SitePolicy) -> bool:
    asked = replace(question, site=replace(question.site, policy=policy))
    return all(verdict.status != "broken" for _, verdict in ask_rules(asked))


END = 1_900_000_000
APPROVALS = [
    None,
    ApprovalState("x"),
]


QUESTIONS = [draw_question(Random(seed)) for seed in range(1_000)]


@pytest.mark.parametrize("path", FIELDS)
def test_what_a_tightened_policy_admits_the_floor_admits(path: str) -> None:
    seen: set[tuple[bool, bool]] = set()

    @settings(max_examples=60, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
    @given(tightened(path), st.integers(0, 2**32))
    def check(pair: tuple[Fields, Fields], seed: int) -> None:
        floor, policy = (site_policy(fields) for fields in pair)
        for question in Random(seed).sample(QUESTIONS, 40):
            seen.add((admitted(question, policy), admitted(question, floor)))
            assert (True, False) not in seen

    check()
    assert seen >= {(True, True), (False, True)}, "no drawn job tells the policy from its floor"
