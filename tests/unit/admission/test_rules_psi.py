"""The rules about alignments, each broken by one thing, with the texts that submitters read."""

import json
from pathlib import Path
from typing import Any

import pytest

from almoner.admission.decide import decide
from almoner.admission.history import History, PastJob
from almoner.admission.request import ApprovalState, JobRequest, SiteView, Submitter
from almoner.privacy.budget import open_filter
from almoner.privacy.ledger import AccountState
from almoner.privacy.plans import plan_of
from almoner.schema.decision import Decision
from almoner.schema.declarations import load_declarations
from almoner.schema.documents import load_document
from almoner.schema.envelope import JobEnvelope
from almoner.schema.policy import SitePolicy
from almoner.schema.psi import PsiSpec
from almoner.schema.site import SiteConfig

ROOT = Path(__file__).resolve().parents[3]
DECLARATIONS = load_declarations(ROOT, "alignment")
SITE = "south-hospital"
NOW = 1_800_000_000.0
SPEC = load_document(ROOT / "jobs" / "patient_alignment.yaml", PsiSpec)
LEAD = Submitter("lead@north-hospital.example", "north_hospital", "lead")
PAPER = ApprovalState("", True, int(NOW) + 1, "a" * 64, LEAD.name, "")
ALONE = DECLARATIONS.policies[SITE]


def decision(
    policy: SitePolicy = ALONE,
    jobs: tuple[PastJob, ...] = (),
    config: SiteConfig = DECLARATIONS.sites[SITE],
    **changes: Any,
) -> Decision:
    """Decide about the job with some fields changed."""
    spec = PsiSpec.model_validate_json(json.dumps(SPEC.model_dump(mode="json") | changes))
    book = open_filter(1.0, 1e-6)
    envelope = JobEnvelope(
        schema_version=1,
        spec=spec,
        sites=DECLARATIONS.consortium.sites,
        nonce="0" * 32,
        issued_unix_seconds=int(NOW),
        expires_unix_seconds=int(NOW),
        almoner_version="0.1.0",
        workload_package="",
    )
    site = SiteView(
        policy=policy,
        config=config,
        account=AccountState(f"{SITE}-patients", "patient", "add_or_remove_one", book, 0.0, 0.0),
        nonce_seen=False,
        now_unix_seconds=NOW,
        workloads={},
        version="0.1.0",
        nominal_records=DECLARATIONS.nominal_records("patients", DECLARATIONS.consortium.sites),
        history=History(jobs),
        approval=PAPER,
    )
    return decide(JobRequest(envelope, LEAD, "alignment"), site, plan_of(spec, 2))


def policy(**allow: Any) -> SitePolicy:
    return ALONE.model_copy(update={"allow": ALONE.allow.model_copy(update=allow)})


def test_an_approved_alignment_is_admitted_and_says_what_it_asks() -> None:
    made = decision()
    assert made.verdict == "admitted", made.violations
    assert made.asks == "alignment with lists of 50000 and size ε=0.10 (patient, δ=1e-10)"
    assert made.charge > 0 == decision(releases=[]).charge


@pytest.mark.parametrize(
    ("changes", "rule", "finding"),
    [
        ({"policy": policy(psi=None)}, "allow.psi", "the policy admits no private set intersection"),
        ({"max_identifiers": 50_001}, "allow.psi", "lists of 50001 are longer than 50000"),
        (
            {"sites": ["north-hospital", "west"]},
            "psi.sites",
            "the job is between [north-hospital, west], its envelope is for [north-hospital, south-hospital]",
        ),
        ({"max_identifiers": 49_999}, "psi.size", "50000 records are declared, lists have 49999 entries"),
        (
            {"identifier": [{"field": "surname", "kind": "text"}]},
            "psi.identifier",
            "surname is no identifier here; there are [birth_date, insurance_number]",
        ),
        (
            {"identifier": [{"field": "birth_date", "kind": "text"}]},
            "psi.identifier",
            "birth_date is not declared as a text here",
        ),
        (
            {"identifier": [{"field": "insurance_number", "kind": "date"}]},
            "psi.identifier",
            "insurance_number is not declared as a date here",
        ),
        ({"policy": policy(releases=())}, "allow.releases", "size is not in []"),
    ],
)
def test_one_fault_breaks_exactly_its_rule(changes: dict[str, Any], rule: str, finding: str) -> None:
    [violation] = decision(**changes).violations
    assert (violation.rule, violation.finding) == (rule, finding)


@pytest.mark.threat("T-63")
def test_no_job_has_more_guesses_than_the_policy_admits() -> None:
    assert [violation.rule for violation in decision(max_identifiers=50_001).violations] == ["allow.psi"]


@pytest.mark.threat("T-63")
@pytest.mark.parametrize(
    ("job", "used"),
    [
        ({"planned": 0, "started": True}, True),
        ({"planned": 0, "started": False}, False),
        ({"planned": 1, "started": True}, False),
        ({"planned": 1, "started": True, "committed": 1}, True),
        ({"planned": 0, "ended_unix_seconds": None}, True),
    ],
)
def test_an_approval_is_good_for_one_list(job: dict[str, Any], used: bool) -> None:
    """An alignment without a release commits no step; that it was started is all that the ledger knows."""
    fields = {"ended_unix_seconds": NOW - 1, "approval_digest": PAPER.digest, **job}
    past = PastJob("one", f"{SITE}-patients", NOW - 90_000, 0.0, **fields)
    assert [violation.rule for violation in decision(jobs=(past,)).violations] == ["require.approval"] * used


@pytest.mark.threat("T-110")
def test_lists_are_of_data_with_one_record_a_patient() -> None:
    config = DECLARATIONS.sites[SITE]
    several = {name: found.model_copy(update={"max_records_per_unit": 8}) for name, found in config.datasets.items()}
    (violation,) = decision(config=config.model_copy(update={"datasets": several})).violations
    assert violation.rule == "dataset.records"
    assert decision().violations == ()
