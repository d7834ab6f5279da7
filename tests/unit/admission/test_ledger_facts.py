"""The history that rules see is what a real ledger's entries say, whether read at once or bit by bit."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from admission_cases import DECLARATIONS, SITE, SPEC, Case

from almoner.admission.history import History, PastJob
from almoner.admission.ledger_facts import LedgerFacts
from almoner.privacy.ledger import Ledger, Reservation
from almoner.privacy.plan import job_events

PLAN = job_events(SPEC.model_copy(update={"rounds": 3}))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.create(tmp_path / "ledger.sqlite", SITE) as made:
        made.open_account(DECLARATIONS.policies[SITE].accounts[0])
        yield made


def admit(ledger: Ledger, number: int, decided: bool = True) -> str:
    """Reserve a job as the door does, then record the decision."""
    job_id = str(uuid.UUID(int=number))
    ledger.reserve(
        Reservation(
            job_id=job_id,
            nonce=f"{number:032x}",
            envelope_digest="a" * 64,
            tree_digest="b" * 64,
            population=f"{SITE}-cardiology",
            privacy_unit="patient",
            neighboring_relation="add_or_remove_one",
            steps=PLAN.steps,
        )
    )
    if decided:
        ledger.record("decision", {"job_id": job_id, **Case().decide().model_dump(mode="json")})
    return job_id


def read(ledger: Ledger) -> History:
    facts = LedgerFacts()
    facts.read(ledger.entries())
    return facts.history()


def only_job(ledger: Ledger) -> PastJob:
    [job] = read(ledger).jobs
    return job


def test_an_admitted_job(ledger: Ledger) -> None:
    admit(ledger, 1)
    job, account = only_job(ledger), ledger.account(f"{SITE}-cardiology")
    assert (job.study, job.submitter) == ("cardiology", "lead@cleveland.example")
    assert (job.planned, job.committed, job.started, job.ended_unix_seconds) == (4, 0, False, None)
    assert job.charge == account.rdp_spent > 0


def test_a_job_whose_decision_was_lost_belongs_to_everybody(ledger: Ledger) -> None:
    admit(ledger, 1, decided=False)
    assert (only_job(ledger).study, only_job(ledger).submitter) == (None, None)
    assert list(read(ledger).of("study", "any")) == [only_job(ledger)]


def test_a_refusal_is_no_job_and_takes_none_over(ledger: Ledger) -> None:
    job_id = admit(ledger, 1)
    refused = Case(flare_study="default").decide().model_copy(update={"study": "oncology", "submitter": "x"})
    ledger.record("decision", {"job_id": job_id, **refused.model_dump(mode="json")})
    ledger.record("decision", {"job_id": "ledger", **refused.model_dump(mode="json")})
    assert only_job(ledger).study == "cardiology"


def test_what_was_never_committed_is_given_back(ledger: Ledger) -> None:
    job_id = admit(ledger, 1)
    ledger.start(job_id, "b" * 64)
    ledger.commit(job_id, "train-0001")
    assert not only_job(ledger).dead
    ledger.settle(job_id, "the job ended")
    job, account = only_job(ledger), ledger.account(f"{SITE}-cardiology")
    assert (job.committed, job.dead) == (1, True)
    assert job.charge == account.rdp_spent == account.rdp_committed > 0


def test_a_whole_job_is_not_dead(ledger: Ledger) -> None:
    job_id = admit(ledger, 1)
    ledger.start(job_id, "b" * 64)
    for step in PLAN.steps:
        ledger.commit(job_id, step.key)
        ledger.release(job_id, step.key, "c" * 64)
    ledger.settle(job_id, "the job ended")
    job = only_job(ledger)
    assert (job.committed, job.released, job.dead) == (4, 4, False)


@pytest.mark.threat("T-33")
def test_a_job_aborted_in_its_last_round_is_dead(ledger: Ledger) -> None:
    job_id = admit(ledger, 1)
    ledger.start(job_id, "b" * 64)
    for step in PLAN.steps:
        ledger.commit(job_id, step.key)
    ledger.release(job_id, PLAN.steps[0].key, "c" * 64)
    ledger.settle(job_id, "the job ended")
    assert (only_job(ledger).committed, only_job(ledger).released, only_job(ledger).dead) == (4, 1, True)


@pytest.mark.threat("T-33")
def test_a_member_who_ends_jobs_before_their_first_step_pauses_nobody(ledger: Ledger) -> None:
    job_id = admit(ledger, 1)
    ledger.start(job_id, "b" * 64)
    ledger.settle(job_id, "the job ended")
    assert (only_job(ledger).charge, only_job(ledger).dead) == (0.0, False)


def test_the_last_policy_and_the_last_approval_count(ledger: Ledger) -> None:
    for number in "12":
        ledger.record("policy", {"old": "", "new": number * 64})
        ledger.record("approval", {"job_digest": "a" * 64, "approval_digest": number * 64})
    assert read(ledger).policy_digest == "2" * 64
    assert dict(read(ledger).approvals) == {"a" * 64: "2" * 64}


def test_read_bit_by_bit_is_read_at_once(ledger: Ledger) -> None:
    for number in (1, 2):
        job_id = admit(ledger, number)
        ledger.start(job_id, "b" * 64)
        ledger.commit(job_id, "train-0002")
    ledger.settle(job_id, "the job ended")
    facts = LedgerFacts()
    for entry in ledger.entries():
        facts.read([entry])
    assert facts.history().jobs == read(ledger).jobs
