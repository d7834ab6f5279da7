"""A job that would make every site train on exchanged labels: no policy of the checkout admits its workload."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from almoner.flare.commands.planning import plan_job
from almoner.schema.declarations import Declarations, load_declarations
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.workloads import registry
from almoner.workloads.registry import WORKLOADS, workload, workload_digest

HOOKS = Path(__file__).resolve().parents[1] / "integration" / "hooks"
NAME = "bank_credit_poisoned"


@pytest.fixture(scope="module")
def banks(root: Path) -> Declarations:
    return load_declarations(root, "banks")


@pytest.fixture(scope="module")
def spec(root: Path) -> JobSpec:
    return load_document(root / "jobs" / "bank_credit.yaml", JobSpec)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(HOOKS)
    import poison

    yield poison
    for name in ("poison", "poisoned_bank_credit"):
        sys.modules.pop(name, None)
    workload_digest.cache_clear()


@pytest.fixture
def plug_in(hook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The hook, with its workload installed at all sites."""
    monkeypatch.setattr(registry, "WORKLOADS", WORKLOADS)
    monkeypatch.setitem(WORKLOADS, NAME, WORKLOADS["bank_credit"])
    hook.install_workload(registry)
    return hook


def broken_rules(spec: JobSpec, banks: Declarations) -> list[set[str]]:
    """Return which rules each bank names; the whole job is planned as a submission would be decided."""
    return [{violation.rule for violation in decision.violations} for decision in plan_job(spec, banks)]


def admitting(banks: Declarations, name: str, **changes: object) -> Declarations:
    """Return the declarations with all policies admitting a workload too."""
    policies = {
        site: policy.model_copy(
            update={"allow": policy.allow.model_copy(update={"workloads": (*policy.allow.workloads, name), **changes})}
        )
        for site, policy in banks.policies.items()
    }
    return replace(banks, policies=policies)


def test_the_honest_job_is_admitted(spec: JobSpec, banks: Declarations) -> None:
    assert broken_rules(spec, banks) == [set()] * 10


@pytest.mark.threat("T-40")
def test_a_workload_that_is_not_installed_is_refused_by_every_bank(spec: JobSpec, banks: Declarations) -> None:
    poisoned = spec.model_copy(update={"workload": NAME})
    assert broken_rules(poisoned, banks) == [{"workload.known"}] * 10


@pytest.mark.threat("T-40")
def test_an_installed_plug_in_is_refused_by_every_policy_and_runs_where_a_policy_admits_it(
    spec: JobSpec, banks: Declarations, plug_in: ModuleType
) -> None:
    poisoned = spec.model_copy(update={"workload": plug_in.WORKLOAD})
    assert broken_rules(poisoned, banks) == [{"allow.workloads"}] * 10
    assert broken_rules(poisoned, admitting(banks, NAME)) == [set()] * 10
    assert type(workload(NAME)).__name__ == "PoisonedBankCredit"


@pytest.mark.threat("T-40")
def test_a_plug_in_under_an_admitted_name_breaks_a_pinned_digest(
    spec: JobSpec, banks: Declarations, plug_in: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = {"bank_credit": (workload_digest("bank_credit"),)}
    strict = admitting(banks, "heart_disease", workload_digests=pinned)
    assert broken_rules(spec, strict) == [set()] * 10
    monkeypatch.setitem(WORKLOADS, "bank_credit", WORKLOADS[NAME])
    workload_digest.cache_clear()
    assert broken_rules(spec, strict) == [{"workload.digest"}] * 10
    assert broken_rules(spec, banks) == [set()] * 10
