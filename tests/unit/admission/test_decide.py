"""decide: each rule by one job that breaks exactly this rule, all broken rules at once, and the text of a refusal."""

import re
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from admission_cases import (
    DISTRIBUTED,
    GROUPED,
    LEAD,
    NOW,
    SITE,
    SIZES,
    UNPROTECTED,
    WORKLOAD,
    Case,
    account,
    account_at_epsilon,
    past,
    policy,
    request,
    spec,
)  # fmt: skip
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.admission.decide import decide, refuse_unread
from almoner.admission.request import Submitter
from almoner.admission.rules import DOOR_RULES, RULES
from almoner.schema.decision import Violation

TRAINEE = Submitter(name="trainee@hungary.example", org="hungary", role="trainee")

POPULATIONS = (f"{SITE}-cardiology", "registry")

NINE = (SITE, *(f"s{index}" for index in range(8)))

EDITS: dict[str, dict[str, Any]] = {
    "submitter.role": {"submitter": TRAINEE},
    "envelope.sites": {"sites": ("cleveland", "hungary", "va-long-beach")},
    "envelope.replayed": {"nonce_seen": True},
    "envelope.expired": {"expires": int(NOW) - 1},
    "envelope.validity": {"issued": int(NOW), "expires": int(NOW) + 7 * 86_400 + 1},
    "envelope.version": {"exported_by": "0.0.9"},
    "allow.studies": {"policy": policy(allow={"studies": ["oncology"]})},
    "study.session": {"flare_study": "default"},
    "workload.known": {"workloads": {"other": WORKLOAD}},
    "allow.workloads": {"policy": policy(allow={"workloads": []})},
    "dataset.known": {"spec": spec(dataset="oncology")},
    "allow.datasets": {"policy": policy(allow={"datasets": ["oncology"]})},
    "workload.unit": {"workloads": {"heart_disease": replace(WORKLOAD, units=("visit",))}},
    "workload.releases": {"workloads": {"heart_disease": replace(WORKLOAD, one_record_per_unit=False)}},
    "account.unit": {
        "policy": policy(accounts=[policy().accounts[0].model_dump() | {"privacy_unit": "visit"}]),
    },
    "account.delta": {"spec": spec(privacy={"target_delta": 1.01e-4})},
    "account.disjoint": {
        "policy": policy(accounts=[{**policy().accounts[0].model_dump(), "population": name} for name in POPULATIONS])
    },
    "limits.epsilon_per_job": {"policy": policy(limits={"epsilon_per_job": 1.0})},
    "limits.min_noise": {"policy": policy(limits={"min_noise_multiplier": 7.3})},
    "limits.sampling": {"policy": policy(limits={"max_sampling_prob": 0.49})},
    "limits.max_steps": {"policy": policy(limits={"max_steps": 19})},
    "limits.max_rounds": {"policy": policy(limits={"max_rounds": 19})},
    "require.min_sites": {"spec": spec(min_sites=2)},
    "require.protection": {"spec": spec(aggregation={"kind": "plain"})},
    "budget.remaining": {"account": account_at_epsilon(2.71)},
    "submitter.user": {
        "policy": policy(
            allow={"submitters": [{"role": "lead", "orgs": ["cleveland"], "users": ["b@cleveland.example"]}]}
        )
    },
    "allow.windows": {"policy": policy(allow={"windows": [{"days": ["fri"], "from_hour": 9, "to_hour": 17}]})},
    "allow.purposes": {"policy": policy(allow={"purposes": [{"study": "cardiology", "purpose": "another"}]})},
    "workload.package": {"package": "c" * 64},
    "workload.digest": {"policy": policy(allow={"workload_digests": {"heart_disease": ["c" * 64]}})},
    "workload.weights": {"policy": policy(allow={"initial_weights": {"heart_disease": ["c" * 64]}})},
    "dataset.records": {"max_records_per_unit": 8},
    "dataset.sizes": {"nominal_records": {site: 9 for site in SIZES if site != "hungary"}},
    "allow.releases": {"policy": policy(allow={"releases": []})},
    "job.grid": {
        "spec": DISTRIBUTED,
        "workloads": {"heart_disease": replace(WORKLOAD, dimension=10**12)},
        "nominal_records": dict.fromkeys(SIZES, 10**9),
    },
    "data.public": {"spec": UNPROTECTED, "public": False},
    "allow.mechanisms": {"spec": DISTRIBUTED, "policy": policy(allow={"mechanisms": ["dp_sgd"]})},
    "quota.month": {"policy": policy(quotas={"budget_share_per_month": 0.25}), "jobs": (past(1),)},
    "quota.study": {
        "policy": policy(quotas={"budget_share_per_study": 0.25}),
        "jobs": (past(99, submitter="b@cleveland.example"),),
    },
    "quota.submitter": {
        "policy": policy(quotas={"budget_share_per_submitter": 0.25}),
        "jobs": (past(99, study="oncology"),),
    },
    "rate.study": {"policy": policy(quotas={"jobs_per_day_per_study": 1}), "jobs": (past(0.5),)},
    "rate.submitter": {"policy": policy(quotas={"jobs_per_day_per_submitter": 1}), "jobs": (past(0.5),)},
    "pause.study": {
        "policy": policy(quotas={"pause": {"after_dead_jobs": 1, "days": 2}}),
        "jobs": (past(1, committed=20, submitter="b@cleveland.example"),),
    },
    "pause.submitter": {
        "policy": policy(quotas={"pause": {"after_dead_jobs": 1, "days": 2}}),
        "jobs": (past(1, committed=20, study="oncology"),),
    },
    "aggregation.parties": {"spec": spec(aggregation={"kind": "secagg", "num_colluding_sites": 3})},
    "aggregation.rule": {
        "spec": spec(aggregation={"kind": "robust", "rule": "krum", "num_byzantine_sites": 1}),
        "policy": policy(require={"protection": ["he", "robust"]}),
    },
    "aggregation.groups": {"spec": spec(aggregation=GROUPED)},
    "require.sites_per_sum": {
        "spec": spec(aggregation=GROUPED),
        "sites": NINE,
        "study_sites": NINE,
        "nominal_records": dict.fromkeys(NINE, 100),
        "policy": policy(require={"min_sites_per_sum": 4}),
    },
    "require.byzantine": {"policy": policy(require={"min_byzantine_sites": 1})},
    "require.colluding": {"policy": policy(require={"min_colluding_sites": 2})},
    "require.trust": {"policy": policy(require={"trust_models": ["trusted_server"]})},
    "require.cohort": {"policy": policy(require={"min_nominal_records": 33})},
    "require.approval": {"policy": policy(require={"manual_approval": {"roles": ["org_admin"], "max_days": 30}})},
    "allow.statistics": {"spec": request(), "policy": policy(allow={"statistics": None})},
    "statistics.cells": {
        "spec": request(),
        "policy": policy(allow={"statistics": {"trust": ["local"], "max_cells": 13}}),
    },
    "statistics.columns": {"spec": request(columns={"age": {"kind": "integer", "low": 20, "high": 81}})},
    "statistics.range": {
        "spec": request(trust={"kind": "distributed", "num_colluding_sites": 1}),
        "nominal_records": dict.fromkeys(SIZES, 10**15),
    },
}
"""One change each that breaks exactly the rule it stands under."""

OF_ALIGNMENTS = {"allow.psi", "psi.sites", "psi.size", "psi.identifier"}
"""See `test_rules_psi.py`."""


def test_the_good_job_is_admitted() -> None:
    decision = Case().decide()
    assert decision.verdict == "admitted"
    assert decision.violations == ()


@pytest.mark.threat("T-03")
@pytest.mark.parametrize("rule", EDITS)
def test_one_fault_breaks_exactly_its_rule(rule: str) -> None:
    case = Case(**EDITS[rule])
    assert case.rules() == (rule,)
    assert case.decide().verdict == "refused"


def test_every_rule_has_its_case_and_its_own_name() -> None:
    names = [rule.name for rule in RULES]
    assert set(names) - OF_ALIGNMENTS == set(EDITS)
    assert len(set(names)) == len(names)
    assert not set(names) & set(DOOR_RULES)


def test_every_rule_names_a_field_that_policies_have() -> None:
    fields = {rule.field for rule in RULES} - {""}
    document: Any = policy().model_dump()
    for field in fields:
        found = document
        for part in field.split("."):
            found = found[int(part) if part.isdigit() else part]


def test_a_rule_without_a_field_is_broken_whatever_the_policy_says() -> None:
    for rule in RULES:
        if not rule.field and "policy" in EDITS.get(rule.name, {}):
            assert Case(policy=EDITS[rule.name]["policy"]).rules() == ()


@pytest.mark.parametrize(
    ("edit", "finding", "remedy"),
    [
        (
            {"submitter": TRAINEE},
            "trainee@hungary.example is trainee of hungary; admitted are [lead of cleveland]",
            "ask an admitted user to submit",
        ),
        (
            {"submitter": Submitter(name="server", org="x", role="")},
            "signed with a certificate that is no user's (server)",
            "submit with the startup kit of an admitted user",
        ),
        (
            {"flare_study": ""},
            "submitted under FLARE study default, the job says cardiology",
            "log in with --study cardiology",
        ),
        (EDITS["require.protection"], "plain is not in [he, secagg]", "set aggregation.kind"),
        (EDITS["require.min_sites"], "min_sites 2 is below 3", "set min_sites to at least 3"),
        (EDITS["limits.max_rounds"], "20 rounds are more than 19", "lower rounds"),
        (EDITS["account.delta"], "δ=0.000101 is above the account's 0.0001", "lower privacy.target_delta"),
    ],
)
def test_findings_and_remedies(edit: dict[str, Any], finding: str, remedy: str) -> None:
    [violation] = Case(**edit).decide().violations
    assert (violation.finding, violation.remedy) == (finding, remedy)


@pytest.mark.parametrize(
    "submitter",
    [
        Submitter("lead@cleveland.example", "cleveland", "member"),
        Submitter("lead@cleveland.example", "hungary", "lead"),
        Submitter("lead@cleveland.example", "cleveland", "super"),
        Submitter("lead@cleveland.example", "cleveland", "lead "),
        Submitter("lead@cleveland.example", "", "lead"),
        Submitter("cleveland", "cleveland", ""),
    ],
)
def test_role_and_organisation_must_both_be_admitted(submitter: Submitter) -> None:
    assert Case(submitter=submitter).rules() == ("submitter.role",)


def test_organisations_are_compared_as_flare_spells_them() -> None:
    submitters = {"submitters": [{"role": "lead", "orgs": ["va-long-beach"]}]}
    case = Case(policy=policy(allow=submitters), submitter=Submitter("a@b.cd", "va_long_beach", "lead"))
    assert case.rules() == ()
    assert case.but(submitter=LEAD).rules() == ("submitter.role",)


def test_envelopes_expire_at_their_second_and_not_before() -> None:
    assert Case(expires=int(NOW)).rules() == ()
    assert Case(expires=int(NOW) - 1).rules() == ("envelope.expired",)


@pytest.mark.threat("T-03")
def test_a_job_is_good_for_as_many_days_as_the_policy_says_and_not_a_second_more() -> None:
    month = Case(issued=int(NOW), expires=int(NOW) + 30 * 86_400)
    assert month.rules() == ("envelope.validity",)  # a week, where nothing is written
    assert month.but(policy=policy(limits={"max_validity_days": 30})).rules() == ()
    longer = month.but(policy=policy(limits={"max_validity_days": 30}), expires=month.expires + 1)
    [violation] = longer.decide().violations
    assert violation.finding == "good for 30.00 days from its export, at most 30"
    assert violation.remedy == "export it again, with the policies of now"


@pytest.mark.threat("T-03")
def test_a_job_that_is_dated_ahead_is_refused_until_then() -> None:
    """So nobody makes a job last longer by saying that it is yet to be exported; clocks may differ by five minutes."""
    assert Case(issued=int(NOW) + 300, expires=int(NOW) + 7 * 86_400).rules() == ()
    ahead = Case(issued=int(NOW) + 301, expires=int(NOW) + 7 * 86_400)
    [violation] = ahead.decide().violations
    assert (violation.rule, violation.finding) == ("envelope.validity", "the job was exported in the future")
    assert ahead.but(now=NOW + 1).rules() == ()


# Edits of different fields of the case, whose rules do not depend on each other.
TOGETHER = (
    "submitter.role", "envelope.sites", "envelope.replayed", "envelope.expired", "envelope.version", "study.session",
    "limits.max_rounds", "budget.remaining", "require.protection", "workload.known",
)  # fmt: skip


@settings(max_examples=40)
@given(st.sets(st.sampled_from(TOGETHER)))
def test_all_violated_rules_are_listed(rules: set[str]) -> None:
    changes: dict[str, Any] = {}
    for rule in rules:
        changes |= EDITS[rule]
    decision = Case(**changes).decide()
    assert sorted(violation.rule for violation in decision.violations) == sorted(rules)
    assert decision.verdict == ("refused" if rules else "admitted")


def test_the_budget_stands_first() -> None:
    case = Case(**{**EDITS["submitter.role"], **EDITS["budget.remaining"], **EDITS["require.protection"]})
    assert case.rules() == ("budget.remaining", "submitter.role", "require.protection")


def test_deciding_is_pure(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(**EDITS["budget.remaining"])
    request, site, plan = case.request(), case.site(), case.plan()
    first = decide(request, site, plan)

    def outside(*args: object, **kwargs: object) -> None:
        raise AssertionError("decide looked outside its arguments")

    for owner, name in (
        (time, "time"), (time, "monotonic"), (socket, "socket"), (Path, "open"), (Path, "read_bytes"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, outside)
    monkeypatch.setattr("builtins.open", outside)
    second = decide(request, site, plan)
    monkeypatch.undo()
    assert second == first
    assert (request, site, plan) == (case.request(), case.site(), case.plan())


EXTREMES = [
    {"rounds": 0, "releases": []},
    {"rounds": 0, "privacy": {"target_delta": 1e-10}},
    {"rounds": 0, "releases": [{"kind": "accuracy", "epsilon": 100.0}]},
    {"rounds": 1, "privacy": {"target_epsilon": 100.0, "sampling_prob": 1e-6, "target_delta": 0.09}},
    {"rounds": 1, "privacy": {"target_epsilon": 0.05, "sampling_prob": 1.0, "target_delta": 1e-10}},
    {"rounds": 10_000, "training": {"local_steps": 1000}},
]


@pytest.mark.parametrize("changes", EXTREMES)
@pytest.mark.parametrize("spent", [0.0, account().filter.budget, 2 * account().filter.budget])
def test_there_is_a_decision_for_every_job_and_account(changes: dict[str, Any], spent: float) -> None:
    decision = Case(spec=spec(**changes), account=account(spent)).decide()
    assert decision.verdict in ("admitted", "refused")
    assert (decision.verdict == "admitted") == (not decision.violations)
    assert all(line.isprintable() for line in decision.render().splitlines())
    assert len(decision.render().splitlines()) == 1 + len(decision.violations)


class TestText:
    def test_a_refusal_reads_as_in_the_design(self) -> None:
        case = Case(account=account_at_epsilon(2.71), spec=spec(aggregation={"kind": "plain"}))
        first, second, third = case.decide().render().splitlines()
        asks = "training ε=1.00 and accuracy ε=0.10 (patient, δ=1e-4)"
        assert first == f"refused by switzerland: job heart-disease asks {asks}"
        assert re.fullmatch(
            r"  budget\.remaining   account at ε=2\.71 of 3\.00, fits training ε≤0\.\d\d beside the release"
            r" → lower target_epsilon",
            second,
        )
        assert third == "  require.protection plain is not in [he, secagg] → set aggregation.kind"
        assert second.index("account at") == third.index("plain")

    def test_an_admission_is_one_line(self) -> None:
        decision = Case().decide()
        asks = "training ε=1.00 and accuracy ε=0.10 (patient, δ=1e-4)"
        after = f"{decision.epsilon_after:.2f}"
        assert decision.render() == (
            f"admitted by switzerland: job heart-disease asks {asks}; account ε=0.00 → {after} of 3.00"
        )

    @pytest.mark.parametrize(
        ("changes", "asks"),
        [
            ({"releases": []}, "training ε=1.00 (patient, δ=1e-4)"),
            ({"rounds": 0}, "accuracy ε=0.10 (patient, δ=1e-4)"),
            ({"rounds": 0, "releases": []}, "nothing (patient, δ=1e-4)"),
            (
                {"rounds": 0, "privacy": {"target_delta": 2.5e-5, "unit": "account"}},
                "accuracy ε=0.10 (account, δ=2.5e-5)",
            ),
        ],
    )
    def test_what_is_asked(self, changes: dict[str, Any], asks: str) -> None:
        assert Case(spec=spec(**changes)).decide().asks == asks

    def test_nothing_fits_any_more(self) -> None:
        [violation] = Case(account=account(account().filter.budget)).decide().violations
        assert violation.finding == "account at ε=3.00 of 3.00, no such job fits"
        assert violation.remedy == ""

    def test_unreadable_jobs_are_refused_in_the_same_form(self) -> None:
        why = Violation(rule="job.unreadable", finding="the app is not signed", remedy="export the job again")
        decision = refuse_unread(Case().site(), "heart", (why,))
        assert decision.verdict == "refused"
        assert decision.render() == (
            f"refused by {SITE}: job heart\n  job.unreadable     the app is not signed → export the job again"
        )
        assert decision.charge == 0.0
