"""The rules about time, history and persons, at the edge on both sides."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from admission_cases import (
    DECLARATIONS,
    DISTRIBUTED,
    LEAD,
    NOW,
    SITE,
    SPEC,
    UNPROTECTED,
    WORKLOAD,
    Case,
    account,
    past,
    policy,
    spec,
)

from almoner.admission.cost import JobCost
from almoner.admission.request import ApprovalState, Submitter
from almoner.admission.rule import Question, Verdict
from almoner.admission.rules import RULES
from almoner.schema.approval import job_digest
from almoner.schema.job import JobSpec

B = account().filter.budget


def ask(rule: str, case: Case, charge: float = 0.1 * B) -> Verdict:
    """Ask one rule about a job with a charge of its own."""
    question = Question(case.request(), case.site(), JobCost(1.0, 1.0, charge, 1.0, 1.0))
    return next(found for found in RULES if found.name == rule).check(question)


def status(rule: str, case: Case, charge: float = 0.1 * B) -> str:
    return ask(rule, case, charge).status


class TestMonths:
    CASE = Case(policy=policy(quotas={"budget_share_per_month": 0.25}))

    @pytest.mark.parametrize(
        ("reserved", "expected"),
        [(datetime(2027, 1, 1, tzinfo=UTC), "broken"), (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), "holds")],
    )
    def test_a_month_begins_at_midnight_utc(self, reserved: datetime, expected: str) -> None:
        job = replace(past(1, 0.2), reserved_unix_seconds=reserved.timestamp())
        assert status("quota.month", self.CASE.but(jobs=(job,))) == expected

    def test_the_share_is_reached_and_not_passed(self) -> None:
        case = self.CASE.but(jobs=(past(1, 0.125),))
        assert status("quota.month", case, 0.125 * B) == "holds"
        assert status("quota.month", case, 0.126 * B) == "broken"

    def test_the_figures(self) -> None:
        found = ask("quota.month", self.CASE.but(jobs=(past(1, 0.2),)))
        assert found.finding == "this month holds 20.0% of the budget, with this job 30.0%; at most 25.0%"

    def test_another_populations_jobs_do_not_count(self) -> None:
        assert status("quota.month", self.CASE.but(jobs=(past(1, 0.9, population="other"),))) == "holds"


@pytest.mark.threat("T-33")
@pytest.mark.parametrize(
    ("rule", "field", "other"),
    [
        ("quota.study", "budget_share_per_study", {"study": "oncology"}),
        ("quota.submitter", "budget_share_per_submitter", {"submitter": "b@cleveland.example"}),
    ],
)
def test_shares_for_life_are_of_one_study_or_person(rule: str, field: str, other: dict[str, str]) -> None:
    case = Case(policy=policy(quotas={field: 0.25}))
    assert status(rule, case.but(jobs=(past(900, 0.2),))) == "broken"
    assert status(rule, case.but(jobs=(past(900, 0.2, **other),))) == "holds"
    assert status(rule, case.but(jobs=(past(900, 0.2, study=None, submitter=None),))) == "broken"


@pytest.mark.parametrize("rule", ["rate.study", "rate.submitter"])
def test_a_day_has_24_hours(rule: str) -> None:
    quotas = {"jobs_per_day_per_study": 2, "jobs_per_day_per_submitter": 2}
    case = Case(policy=policy(quotas=quotas), jobs=(past(0.1), past(0.999)))
    assert status(rule, case) == "broken"
    assert status(rule, case.but(jobs=(past(0.1), past(1.0)))) == "holds"


@pytest.mark.threat("T-33")
@pytest.mark.parametrize("rule", ["pause.study", "pause.submitter"])
class TestPauses:
    CASE = Case(policy=policy(quotas={"pause": {"after_dead_jobs": 2, "days": 7}}))

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"committed": 20}, "broken"),
            ({"committed": 21, "released": 20}, "broken"),
            ({"committed": 21, "released": 0}, "broken"),
            ({"committed": 0}, "holds"),
            ({"committed": 21}, "holds"),
            ({"committed": 0, "started": False}, "holds"),
            ({"committed": 20, "ended_unix_seconds": None}, "holds"),
        ],
    )
    def test_dead_is_what_was_charged_and_ended_early(self, rule: str, changes: dict[str, Any], expected: str) -> None:
        jobs = (past(2, **changes), past(1, committed=7))
        assert status(rule, self.CASE.but(jobs=jobs)) == expected

    def test_the_pause_ends_when_the_oldest_is_old_enough(self, rule: str) -> None:
        jobs = (past(7, committed=7), past(1, committed=7))
        ended = jobs[0].ended_unix_seconds or 0.0
        assert status(rule, self.CASE.but(jobs=jobs)) == "broken"
        assert status(rule, self.CASE.but(jobs=jobs, now=ended + 7 * 86_400)) == "holds"

    def test_it_says_what_was_charged_for_nothing(self, rule: str) -> None:
        found = ask(rule, self.CASE.but(jobs=(past(2, committed=20), past(1, committed=7)))).finding
        assert found.endswith("died within 7 days, 27 steps charged for nothing; 2 make a pause")


class TestWindows:
    @pytest.mark.parametrize(
        ("window", "expected"),
        [
            ({"days": ["fri"], "from_hour": 8, "to_hour": 9}, "holds"),
            ({"days": ["fri"], "from_hour": 7, "to_hour": 8}, "broken"),
            ({"days": ["thu", "sat"], "from_hour": 0, "to_hour": 24}, "broken"),
            ({"days": ["fri"], "from_hour": 0, "to_hour": 24}, "holds"),
        ],
    )
    def test_now_is_friday_at_eight(self, window: dict[str, Any], expected: str) -> None:
        assert status("allow.windows", Case(policy=policy(allow={"windows": [window]}))) == expected


class TestPurposes:
    HEART = "coronary disease from routine tests"

    @pytest.mark.threat("T-155")
    @pytest.mark.parametrize(
        ("grants", "expected"),
        [
            ([{"purpose": HEART, "until": "2027-01-15"}], "holds"),
            ([{"purpose": HEART, "until": "2027-01-14"}], "broken"),
            ([{"until": "2027-01-15"}], "holds"),
            ([{"purpose": HEART, "until": "2020-01-01"}, {"purpose": HEART, "until": "2030-01-01"}], "holds"),
            ([{"purpose": HEART, "until": "2020-01-01"}, {}], "holds"),
            ([{"purpose": HEART + "."}], "broken"),
        ],
    )
    def test_word_for_word_until_the_end_of_a_day(self, grants: list[dict[str, str]], expected: str) -> None:
        purposes = [{"study": "cardiology", **grant} for grant in grants]
        assert status("allow.purposes", Case(policy=policy(allow={"purposes": purposes}))) == expected


@pytest.mark.threat("T-32")
@pytest.mark.parametrize(
    ("rule", "field", "digest"),
    [
        ("workload.digest", "workload_digests", WORKLOAD.digest),
        ("workload.weights", "initial_weights", WORKLOAD.initial_weights),
    ],
)
def test_pins(rule: str, field: str, digest: str) -> None:
    pinned = Case(policy=policy(allow={field: {"heart_disease": ["c" * 64, digest]}}))
    assert status(rule, pinned) == "holds"
    changed = replace(WORKLOAD, digest="d" * 64, initial_weights="d" * 64)
    assert status(rule, pinned.but(workloads={"heart_disease": changed})) == "broken"
    assert status(rule, pinned.but(workloads={})) == "unset"
    assert status(rule, Case()) == "unset"


ADDED = replace(WORKLOAD, origin="heart-disease 1.0")


@pytest.mark.threat("T-90")
@pytest.mark.parametrize(
    ("pins", "expected"),
    [
        (None, "broken"),
        ({}, "broken"),
        ({"heart_disease": ["c" * 64]}, "broken"),
        ({"heart_disease": ["a" * 64]}, "holds"),
    ],
)
def test_what_another_package_adds_needs_a_pin(pins: dict[str, list[str]] | None, expected: str) -> None:
    case = Case(policy=policy(allow={"workload_digests": pins}), workloads={"heart_disease": ADDED}, package="a" * 64)
    assert status("workload.digest", case) == expected
    assert case.rules() == (() if expected == "holds" else ("workload.digest",))


@pytest.mark.threat("T-93")
@pytest.mark.parametrize("exported", ["", "c" * 64])
def test_a_job_for_another_version_of_the_package(exported: str) -> None:
    pinned = policy(allow={"workload_digests": {"heart_disease": ["a" * 64]}})
    case = Case(policy=pinned, workloads={"heart_disease": ADDED}, package="a" * 64)
    assert case.rules() == ()
    assert case.but(package=exported).rules() == ("workload.package",)
    assert status("workload.package", Case()) == "unset"


def test_a_unit_that_the_workload_does_not_group_by_protects_nothing() -> None:
    accounts = [DECLARATIONS.policies[SITE].accounts[0].model_dump() | {"privacy_unit": "visit"}]
    case = Case(policy=policy(accounts=accounts), spec=spec(privacy={"unit": "visit"}))
    assert case.rules() == ("workload.unit",)
    assert case.but(workloads={"heart_disease": replace(WORKLOAD, units=("patient", "visit"))}).rules() == ()


def test_many_local_steps_do_not_go_past_the_rounds() -> None:
    case = Case(spec=spec(rounds=20, training={"local_steps": 1000}))
    assert status("limits.max_rounds", case) == "holds"
    assert status("limits.max_steps", case) == "unset"
    assert status("limits.max_steps", case.but(policy=policy(limits={"max_steps": 19_999}))) == "broken"
    assert status("limits.max_steps", case.but(policy=policy(limits={"max_steps": 20_000}))) == "holds"


def test_a_configured_data_set_that_is_not_listed() -> None:
    assert status("allow.datasets", Case()) == "unset"
    assert status("allow.datasets", Case(policy=policy(allow={"datasets": ["cardiology"]}))) == "holds"
    assert status("allow.datasets", Case(policy=policy(allow={"datasets": ["oncology"]}))) == "broken"


class TestNamedUsers:
    @staticmethod
    def case(*rules: dict[str, Any]) -> Case:
        return Case(policy=policy(allow={"submitters": [{"role": "lead", "orgs": ["cleveland"], **r} for r in rules]}))

    def test_one_line_without_names_admits_all_of_its_role(self) -> None:
        named, everybody = {"users": ["b@cleveland.example"]}, {}
        assert status("submitter.user", self.case(named)) == "broken"
        assert status("submitter.user", self.case(named, everybody)) == "unset"
        assert status("submitter.user", self.case({"users": [LEAD.name]})) == "holds"

    def test_a_name_alone_does_not_admit(self) -> None:
        case = self.case({"users": [LEAD.name]}).but(submitter=Submitter(LEAD.name, "hungary", "lead"))
        assert status("submitter.role", case) == "broken"


class TestApproval:
    CASE = Case(policy=policy(require={"manual_approval": {"roles": ["org_admin"], "max_days": 30}}))
    GOOD = ApprovalState("", True, int(NOW), "e" * 64, LEAD.name, WORKLOAD.digest)

    @pytest.mark.threat("T-30")
    def test_awaiting_names_the_digest_that_does_not_change(self) -> None:
        about = job_digest(self.CASE.request().envelope)
        assert ask("require.approval", self.CASE).finding == f"awaiting approval of digest {about}"
        again = self.CASE.request().envelope.model_copy(update={"nonce": "1" * 32, "expires_unix_seconds": 5})
        assert job_digest(again) == about
        assert job_digest(self.CASE.but(sites=self.CASE.sites[:3]).request().envelope) != about

    @pytest.mark.parametrize(
        ("paper", "finding"),
        [
            (replace(GOOD, approved=False), "the data officer denied digest"),
            (replace(GOOD, expires_unix_seconds=int(NOW) - 1), "expired at 2027-01-15T07:59:59+00:00"),
            (ApprovalState("its signature does not verify"), "does not count: its signature does not verify"),
            (replace(GOOD, submitter="b@hungary.example"), f"it is for b@hungary.example, not for {LEAD.name}"),
            (replace(GOOD, workload_digest="d" * 64), f"code {'d' * 16}, {'a' * 16} is installed"),
            (replace(GOOD, workload_digest=""), "it is for the workload's code none, "),
        ],
    )
    @pytest.mark.threat("T-30")
    def test_what_does_not_count(self, paper: ApprovalState, finding: str) -> None:
        found = ask("require.approval", self.CASE.but(approval=paper))
        assert found.status == "broken"
        assert finding in found.finding

    def test_an_approval_counts_until_it_expires(self) -> None:
        assert status("require.approval", self.CASE.but(approval=self.GOOD)) == "holds"
        assert self.CASE.but(approval=self.GOOD).decide().approval_digest == self.GOOD.digest

    @pytest.mark.threat("T-30")
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"ended_unix_seconds": None, "committed": 0, "started": False}, "broken"),
            ({"committed": 1}, "broken"),
            ({"committed": 0}, "holds"),
            ({"approval_digest": "f" * 64}, "holds"),
        ],
    )
    def test_it_is_good_for_one_job_that_touched_data(self, changes: dict[str, Any], expected: str) -> None:
        job = past(1, **{"approval_digest": self.GOOD.digest, **changes})
        assert status("require.approval", self.CASE.but(approval=self.GOOD, jobs=(job,))) == expected


def test_release_only_jobs_need_no_grid() -> None:
    big = {"heart_disease": replace(WORKLOAD, dimension=10**12)}
    case = Case(spec=DISTRIBUTED, workloads=big, nominal_records=dict.fromkeys(Case().nominal_records, 10**9))
    assert case.rules() == ("job.grid",)
    assert status("job.grid", case.but(spec=DISTRIBUTED.model_copy(update={"rounds": 0}))) == "unset"


def test_rules_of_privacy_say_nothing_where_there_is_none() -> None:
    tight = {"epsilon_per_job": 0.1, "min_noise_multiplier": 900.0, "max_sampling_prob": 0.01}
    case = Case(spec=UNPROTECTED, policy=policy(limits=tight))
    decision = case.decide()
    assert decision.verdict == "admitted"
    assert (decision.noise_multiplier, decision.charge, decision.epsilon_after) == (0.0, 0.0, 0.0)
    assert decision.asks == "training with no privacy (public data)"
    assert {status(rule, case) for rule in ("limits.min_noise", "limits.sampling", "account.delta")} == {"unset"}


def test_a_used_up_account_admits_what_costs_nothing() -> None:
    full = account(spent=account().filter.budget)
    assert Case(account=full).rules() == ("budget.remaining",)
    assert Case(spec=UNPROTECTED, account=full).rules() == ()


@pytest.mark.threat("T-83")
@pytest.mark.parametrize(
    ("mechanisms", "asked", "expected"),
    [
        (None, DISTRIBUTED, ("allow.mechanisms",)),
        (None, UNPROTECTED, ()),
        (None, SPEC, ()),
        (["distributed_dp"], DISTRIBUTED, ()),
        (["distributed_dp"], SPEC, ("allow.mechanisms",)),
        (["dp_sgd"], UNPROTECTED, ("allow.mechanisms",)),
    ],
)
def test_a_policy_that_names_no_mechanism_admits_no_shared_noise(
    mechanisms: list[str] | None, asked: JobSpec, expected: tuple[str, ...]
) -> None:
    assert Case(spec=asked, policy=policy(allow={"mechanisms": mechanisms})).rules() == expected


@pytest.mark.threat("T-80")
@pytest.mark.parametrize("listed", [None, ["none"]])
def test_no_policy_admits_training_without_privacy_on_what_is_not_public(listed: list[str] | None) -> None:
    """The control is the site's own registration: with it off, the same job is admitted."""
    case = Case(spec=UNPROTECTED, policy=policy(allow={"mechanisms": listed}))
    assert case.rules() == ()
    assert case.but(public=False).rules() == ("data.public",)


def test_the_grid_is_that_of_the_largest_site_of_the_job() -> None:
    sizes = {**Case().nominal_records, "cleveland": 10**9}
    step = {name: ask("job.grid", Case(nominal_records=found)).finding for name, found in
            (("small", Case().nominal_records), ("large", sizes))}  # fmt: skip
    assert step["small"] != step["large"]
    others = Case(nominal_records=sizes, sites=("hungary", SITE, "va-long-beach"))
    assert ask("job.grid", others).finding == step["small"]


class TestParties:
    @staticmethod
    def case(num_sites: int, colluding: int, kind: str = "secagg", min_sites: int = 2) -> Case:
        sites = tuple(f"s{number}" for number in range(num_sites))
        aggregation = {"kind": kind} | ({"num_colluding_sites": colluding} if kind != "plain" else {})
        return Case(spec=spec(min_sites=min_sites, aggregation=aggregation), sites=sites)

    @pytest.mark.parametrize("kind", ["secagg", "he"])
    @pytest.mark.parametrize(
        ("num_sites", "colluding", "threshold"),
        [(3, 1, 3), (4, 1, 3), (4, 2, 4), (5, 1, 4), (10, 3, 7), (50, 11, 31), (50, 48, 50)],
    )
    def test_thresholds(self, kind: str, num_sites: int, colluding: int, threshold: int) -> None:
        found = ask("aggregation.parties", self.case(num_sites, colluding, kind))
        assert found.status == "holds"
        assert f"the threshold is {threshold}, min_sites 2; {threshold} must set the job up" in found.finding

    @pytest.mark.parametrize("kind", ["secagg", "he"])
    @pytest.mark.parametrize(("num_sites", "colluding"), [(2, 1), (3, 2), (4, 3), (50, 49)])
    def test_too_few_sites(self, kind: str, num_sites: int, colluding: int) -> None:
        found = ask("aggregation.parties", self.case(num_sites, colluding, kind))
        assert found.status == "broken"
        assert found.finding.startswith(f"{num_sites} sites")
        assert found.remedy

    def test_min_sites_above_the_threshold_counts(self) -> None:
        assert "min_sites 5; 5 must set the job up" in ask("aggregation.parties", self.case(5, 1, min_sites=5)).finding

    def test_two_sites_in_clear_are_no_matter_of_this_rule(self) -> None:
        assert status("aggregation.parties", self.case(2, 0, "plain")) == "unset"


class TestColluding:
    @pytest.mark.parametrize(
        ("aggregation", "least", "expected"),
        [
            ({"kind": "secagg", "num_colluding_sites": 1}, 2, "broken"),
            ({"kind": "secagg", "num_colluding_sites": 2}, 2, "holds"),
            ({"kind": "he", "num_colluding_sites": 1}, 2, "broken"),
            ({"kind": "plain"}, 1, "broken"),
            ({"kind": "plain"}, None, "unset"),
        ],
    )
    def test_the_floor_on_c(self, aggregation: dict[str, Any], least: int | None, expected: str) -> None:
        case = Case(spec=spec(aggregation=aggregation), policy=policy(require={"min_colluding_sites": least}))
        assert status("require.colluding", case) == expected


class TestTrust:
    @pytest.mark.parametrize(
        ("kind", "keys_at_site", "model"),
        [
            ("secagg", False, "semi_honest_server"),
            ("secagg", True, "active_server"),
            ("he", True, "semi_honest_server"),
            ("he", False, "semi_honest_server"),
        ],
    )
    def test_keys_that_no_operator_held_make_the_difference(self, kind: str, keys_at_site: bool, model: str) -> None:
        job = spec(aggregation={"kind": kind, "num_colluding_sites": 1})
        for accepted in ("semi_honest_server", "active_server"):
            case = Case(spec=job, policy=policy(require={"trust_models": [accepted]}), keys_at_site=keys_at_site)
            assert status("require.trust", case) == ("holds" if accepted == model else "broken")
