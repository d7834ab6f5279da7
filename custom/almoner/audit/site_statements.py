"""What a site states in a pack, as functions of its ledger: whoever has the ledger can say it anew, and compare."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from almoner.audit.ledger_extract import Book, honest_charge
from almoner.audit.privacy_statement import stated_about_privacy
from almoner.errors import AlmonerError, EvidenceError
from almoner.privacy.events import group_events
from almoner.privacy.pld import pld_epsilon
from almoner.schema.envelope import AnyJob, AnyJobSpec
from almoner.schema.receipt import PrivacyEvent

NAMESPACE = "urn:almoner:predicate"
LEDGER_TYPE = f"{NAMESPACE}:ledger-extract:1"
DECISIONS_TYPE = f"{NAMESPACE}:decisions:1"
RECEIPTS_TYPE = f"{NAMESPACE}:receipts:1"
PRIVACY_TYPE = f"{NAMESPACE}:dp-statement:1"

PLD_TOLERANCE = 1e-5
"""How far, relative, a job's ε may be from today's: its distributions are convolved numerically, and processors differ
by up to 7e-7 (the worst of a hundred plans)."""


def decisions_claim(book: Book) -> dict[str, Any]:
    """Return every decision of a site's ledger, and the approvals that they rest on."""
    asked = ("job_id", "job_name", "study", "submitter", "purpose", "verdict", "asks", "violations")
    keys = (*asked, "envelope_digest", "job_digest", "policy_digest", "approval_digest")
    decisions = [
        {"seq": entry.seq, "time": entry.time, **{key: found.get(key) for key in keys}}
        for entry, found in book.payloads("decision")
    ]
    approvals = [
        {"seq": entry.seq, "time": entry.time, "approval": found} for entry, found in book.payloads("approval")
    ]
    return {"decisions": decisions, "approvals": approvals}


def admitted_decision(book: Book, job_id: str) -> dict[str, Any] | None:
    """Return the decision that admitted a job, None if there is none."""
    found = [payload for _, payload in book.payloads("decision") if payload.get("job_id") == job_id]
    return next((payload for payload in found if payload.get("verdict") == "admitted"), None)


def approval_of(book: Book, decision: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the ledger holds of the approval that a decision rests on, None if it has none of this job."""
    wanted = {
        "approval_digest": decision.get("approval_digest"),
        "job_digest": decision.get("job_digest"),
        "verdict": "approved",
    }
    found = [one for _, one in book.payloads("approval")]
    return next((one for one in found if all(one.get(key) == value for key, value in wanted.items())), None)


def receipts_claim(book: Book, job_id: str) -> dict[str, Any]:
    """Return what a job was charged for at a site, step by step, and the digest of what left for each."""
    job = book.replay.jobs.get(job_id)
    if job is None:
        return {"status": "not reserved", "steps_planned": 0, "receipts": []}
    renyi = book.replay.accounts[job.reserved.population].filter
    receipts = [
        {
            "seq": entry.seq,
            "time": entry.time,
            "step": found.receipt.step,
            "events": [event.model_dump(mode="json") for event in found.receipt.events],
            "charge": honest_charge(found.receipt.events, renyi.order),
            "released": job.released.get(job.position_of[found.receipt.step]),
        }
        for entry, found in book.commits()
        if found.receipt.job_id == job_id
    ]
    return {"status": job.status, "steps_planned": len(job.reserved.steps), "receipts": receipts}


def privacy_claim(book: Book, job_id: str, keys: str) -> dict[str, Any]:
    """Return a job's privacy parameters and its ε, computed from the events that were committed.

    Args:
        keys: who made the sites' keys, as the roster says: `central` or `site`.

    Raises:
        EvidenceError: the job's spec in the ledger cannot be read.
    """
    job, spec = book.replay.jobs.get(job_id), job_spec(book, job_id)
    if job is None or spec is None:
        return {"admitted": False}
    account = book.replay.accounts[job.reserved.population]
    events = [event for _, found in book.commits() if found.receipt.job_id == job_id for event in found.receipt.events]
    return {
        "admitted": True,
        "privacy_unit": job.reserved.privacy_unit,
        "neighboring_relation": job.reserved.neighboring_relation,
        "delta": account.filter.delta,
        "job_delta": spec.target_delta,
        "job_epsilon": _epsilon(events, spec.target_delta, f"ledger of {book.site}: job {job_id}"),
        "mechanisms": _listed(events),
        "trust_model": spec.trust_model(keys == "site"),
        "assumptions": sorted({getattr(event, "assumption", "") for event in events} - {""}),
    }


def privacy_stated(book: Book, job_id: str, claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return the words that go with a `privacy_claim`: they follow from the job's spec.

    Raises:
        EvidenceError: the job's spec in the ledger cannot be read.
    """
    spec = job_spec(book, job_id) if claim["admitted"] else None
    return stated_about_privacy(spec, claim.get("trust_model"))


def _epsilon(events: list[PrivacyEvent], delta: float, where: str) -> float:
    """Return the ε of events; refuse those of which arithmetic makes none."""
    try:
        return pld_epsilon(events, delta)
    except (AlmonerError, ArithmeticError, ValueError):
        raise EvidenceError(f"{where}: no ε can be computed of its events") from None


def job_spec(book: Book, job_id: str) -> AnyJobSpec | None:
    """Return the spec that a site admitted, None if it did not.

    Raises:
        EvidenceError: it cannot be read.
    """
    decision = admitted_decision(book, job_id)
    if decision is None:
        return None
    try:
        return AnyJob.model_validate_json(json.dumps(decision.get("spec"))).root
    except ValidationError:
        raise EvidenceError(f"ledger of {book.site}: the spec of job {job_id} is not one of this release") from None


def _listed(events: list[PrivacyEvent]) -> list[dict[str, Any]]:
    """Return the events, equal ones merged."""
    return sorted((event.model_dump(mode="json") for event in group_events(events)), key=lambda row: json.dumps(row))
