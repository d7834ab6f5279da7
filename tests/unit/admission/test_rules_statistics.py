"""The rules about statistics: a policy that does not name them admits none, and the other kinds' rules stay silent."""

import pytest
from admission_cases import Case, account, policy, request, spec
from test_rules_at_their_edges import status

from almoner.admission.cost import job_cost
from almoner.admission.decide import ask_rules, describe_ask
from almoner.admission.lattice import loosenings
from almoner.admission.rule import NO_TRAINING, Question
from almoner.admission.rules import RULES

LOCAL = request()
DISTRIBUTED = request(trust={"kind": "distributed", "num_colluding_sites": 1})
SPECS = {"local": LOCAL, "distributed": DISTRIBUTED}


@pytest.mark.threat("T-74")
@pytest.mark.parametrize("trust", SPECS)
def test_a_policy_that_does_not_name_statistics_admits_none(trust: str) -> None:
    without = policy(allow={"statistics": None})
    assert Case(spec=SPECS[trust], policy=without).rules() == ("allow.statistics",)
    assert Case(spec=SPECS[trust]).rules() == ()
    assert Case(policy=without).rules() == (), "training is admitted as before"


@pytest.mark.threat("T-74")
@pytest.mark.parametrize("trust", SPECS)
def test_a_policy_can_demand_a_trust_model(trust: str) -> None:
    for granted in SPECS:
        case = Case(spec=SPECS[trust], policy=policy(allow={"statistics": {"trust": [granted]}}))
        assert case.rules() == (() if granted == trust else ("allow.statistics",))
    least = Case(spec=SPECS[trust], policy=policy(require={"trust_models": ["semi_honest_server"]}))
    assert least.rules() == (("require.trust",) if trust == "local" else ())
    colluding = Case(spec=SPECS[trust], policy=policy(require={"min_colluding_sites": 1}))
    assert colluding.rules() == (("require.colluding",) if trust == "local" else ())


def test_rules_of_training_say_nothing() -> None:
    case = Case(spec=LOCAL)
    cost = job_cost(LOCAL, case.plan(), case.account, 4)
    silent = {
        rule.name for rule, verdict in ask_rules(Question(case.request(), case.site(), cost)) if verdict is NO_TRAINING
    }
    assert silent == {
        "workload.known", "allow.workloads", "workload.unit", "workload.releases", "workload.package",
        "workload.digest", "workload.weights", "job.grid", "data.public", "allow.mechanisms",
        "aggregation.rule", "aggregation.groups", "limits.min_noise", "limits.sampling", "limits.max_rounds",
        "limits.max_steps", "require.protection", "require.byzantine", "require.sites_per_sum",
    }  # fmt: skip
    assert silent < {rule.name for rule in RULES}


def test_the_edges_of_cells() -> None:
    assert LOCAL.num_cells == 14
    for most, expected in ((13, "broken"), (14, "holds")):
        granted = policy(allow={"statistics": {"trust": ["local"], "max_cells": most}})
        assert status("statistics.cells", Case(spec=LOCAL, policy=granted)) == expected


def test_the_account_that_training_uses_is_used_up() -> None:
    spent = account().filter.budget
    decision = Case(spec=LOCAL, account=account(spent - 0.1)).decide()
    (violation,) = decision.violations
    assert violation.rule == "budget.remaining"
    assert "fits statistics ε≤0." in violation.finding
    assert violation.remedy == "lower target_epsilon"


def test_what_is_asked_is_told() -> None:
    assert describe_ask(LOCAL) == "6 statistics, local, ε=1.00 (patient, δ=1e-4)"
    assert describe_ask(DISTRIBUTED) == "6 statistics, distributed, ε=1.00 (patient, δ=1e-4)"


@pytest.mark.threat("T-74")
@pytest.mark.parametrize(("low", "high"), [(19, 80), (20, 81)])
def test_columns_are_asked_within_the_bounds_that_the_site_declares(low: int, high: int) -> None:
    asked = request(columns={"age": {"kind": "integer", "low": low, "high": high}})
    assert Case(spec=asked).rules() == ("statistics.columns",)


@pytest.mark.threat("T-74")
@pytest.mark.parametrize("wide", [None, ["local"], ["distributed"], ["local", "distributed"]])
@pytest.mark.parametrize("narrow", [None, ["local"], ["distributed"], ["local", "distributed"]])
def test_what_a_tighter_policy_admits_a_wider_one_does(narrow: list[str] | None, wide: list[str] | None) -> None:
    site, base = (policy(allow={"statistics": trust and {"trust": trust}}) for trust in (narrow, wide))
    admits = [
        {trust for trust, spec in SPECS.items() if not Case(spec=spec, policy=made).rules()} for made in (site, base)
    ]
    assert bool(loosenings(site, base)) == (not admits[0] <= admits[1])


@pytest.mark.threat("T-110")
def test_data_of_several_records_a_patient_is_not_counted() -> None:
    several = Case(spec=LOCAL, max_records_per_unit=8)
    assert several.rules() == ("dataset.records",)
    (violation,) = several.decide().violations
    assert violation.finding == "a unit has up to 8 records here"
    assert Case(max_records_per_unit=8).rules() == ("dataset.records",), "nor by the accuracy that a job releases"
    assert Case(max_records_per_unit=8, spec=spec(releases=[])).rules() == (), "training is not refused"
