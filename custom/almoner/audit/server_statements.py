"""What the server states in a pack: the run, certificates, components, threats, attacks, inputs to a DPIA."""

import hashlib
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from almoner.audit import parts as names
from almoner.audit.attestation_claim import attestation_claim
from almoner.audit.authority import Root, inventory_row, read_roster
from almoner.audit.ledger_extract import Book
from almoner.audit.site_statements import NAMESPACE, admitted_decision, approval_of
from almoner.audit.submission import Submission
from almoner.errors import EvidenceError
from almoner.schema.consortium import Roster

RUN_TYPE = f"{NAMESPACE}:run-manifest:1"
CERTIFICATES_TYPE = f"{NAMESPACE}:certificates:1"
VULNERABILITIES_TYPE = f"{NAMESPACE}:vulnerabilities:1"
THREATS_TYPE = f"{NAMESPACE}:threat-coverage:1"
ATTACKS_TYPE = f"{NAMESPACE}:redteam:1"
DPIA_TYPE = f"{NAMESPACE}:dpia-inputs:1"
INDEX_TYPE = f"{NAMESPACE}:pack:1"

OWN_WORD = ("python", "platform")
"""Fields of `run_stated` that nobody else can find out."""


def run_claim(
    job_id: str, submission: Submission, books: Mapping[str, Book], attestation: bytes | None
) -> dict[str, Any]:
    """Return what a run was, as the submitter's signature, the sites' signed decisions and the server's kit say it."""
    decisions = {site: _decided(book, job_id) for site, book in sorted(books.items())}
    about = {"job_id": job_id, **submission.claim(), "decisions": decisions}
    return about | {"attestation": attestation_claim(attestation)}


def _decided(book: Book, job_id: str) -> dict[str, Any] | None:
    """Return by which code, policy and data a site admitted or refused a job; None if it never decided about it.

    `approved_by` is the data officer's name in the ledger's approval: the site's word; None if the job needed none.
    """
    found = [payload for _, payload in book.payloads("decision") if payload.get("job_id") == job_id]
    decision = admitted_decision(book, job_id) or (found[-1] if found else None)
    if decision is None:
        return None
    keys = ("verdict", "package", "policy_digest", "dataset_commitment", "approval_digest", "workload_digest")
    approval = approval_of(book, decision) if decision.get("approval_digest") else None
    approved_by = None if approval is None else str(approval.get("officer", ""))
    said = {key: decision.get(key) for key in (*keys, "envelope_digest", "noise_multiplier")}
    return {**said, "approved_by": approved_by}


def run_stated(meta: Mapping[str, Any], outcome: Mapping[str, Any] | None, books: Mapping[str, Book]) -> dict[str, Any]:
    """Return what only the server says about a run: FLARE's record, rounds, and (`OWN_WORD`) where it ran."""
    keys = ("status", "submit_time_iso", "start_time", "duration", "study", "job_deploy_detail")
    rounds = [] if outcome is None else outcome["rounds"]
    return {
        "flare_record": {key: meta.get(key) for key in keys},
        "rounds_done": len(rounds),
        "rounds_by_site": {site: sum(site in record["contributors"] for record in rounds) for site in sorted(books)},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "image": "",
        "image_note": "no container image is recorded: processes run from the installed package, whose digest is above",
    }


def certificates_claim(root: Root, rows: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
    """Return the inventory of certificates.

    Args:
        rows: kind and PEM of each certificate but the root's; the root issued all of them.
    """
    own = root.certificate
    first = {"kind": "root", "sha256": root.fingerprint, "not_after": own.not_valid_after_utc.isoformat()}
    listed = [inventory_row(pem, kind, root) for kind, pem in rows]
    return {"root": first, "issued": listed}


def pack_certificates(parts: Mapping[str, bytes], submission: Submission) -> list[tuple[str, bytes]]:
    """Return kind and PEM of the certificates of a pack: the server's, the submitter's, and those of the roster."""
    roster = read_roster(parts[names.ROSTER], names.ROSTER)
    sites = [("site", entry.certificate_pem.encode()) for entry in roster.sites]
    return [("server", parts[names.SERVER_CERTIFICATE]), ("submitter", submission.certificate_pem), *sites]


def threats_claim(threats: bytes | None) -> dict[str, Any]:
    """Return how far the threat model is covered by tests.

    Raises:
        EvidenceError: the file is not a threat model.
    """
    if threats is None:
        return {"status": "not given", "why": "threat_model/threats.yaml was not at hand where the pack was made"}
    try:
        listed = yaml.safe_load(threats)["threats"]
        keys = ("id", "title", "stride", "linddun", "control", "status", "likelihood", "impact", "residual")
        rows = [{key: threat[key] for key in keys if key in threat} for threat in listed]
    except (yaml.YAMLError, KeyError, TypeError):
        raise EvidenceError("threats.yaml: not a threat model → give that of the release that ran") from None
    return _coverage(hashlib.sha256(threats).hexdigest(), rows)


def recounted(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return a threat statement as `threats_claim` makes it of the threats that it lists."""
    rows = said.get("threats")
    given = said.get("status") == "given" and isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    return _coverage(str(said.get("sha256")), rows or []) if given else threats_claim(None)


def _coverage(sha256: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the listed threats with their counts."""
    return {
        "status": "given",
        "sha256": sha256,
        "counts": dict(sorted(Counter(str(row.get("status")) for row in rows).items())),
        "meaning": "tested: a test carries out the attack with the control in place; `make threats` takes the control "
        "out of the code and sees that test fail",
        "threats": rows,
    }


def dpia_claim(submission: Submission, roster: Roster, books: Mapping[str, Book]) -> dict[str, Any]:
    """Return what the platform can contribute to an assessment after GDPR, Article 35(7), and what it cannot."""
    spec = submission.envelope["spec"]
    sizes = roster.nominal_records(str(spec.get("dataset", "")))
    return {
        "a_description": {
            "purpose": spec.get("purpose"),
            "study": spec.get("study"),
            "kind": spec.get("kind"),
            "dataset": spec.get("dataset"),
            "privacy_unit": _unit(spec),
            "declared_units_by_site": {site: sizes.get(site) for site in sorted(books)},
            "recipients": ["the submitter", "the sites of the job", "the server's operator (what threat_model/ lists)"],
            "records_leave_a_site": False,
        },
        "b_necessity": "left to the controller; what the job asks for, and what was refused, is in the decisions",
        "c_risks": "the threat model with what is accepted; the account's ε bounds what anybody can learn of a unit",
        "d_measures": {
            "protection": spec.get("aggregation"),
            "privacy": spec.get("privacy"),
            "releases": spec.get("releases"),
        },
        "left_to_the_controller": [
            "legal basis, and information of the people concerned",
            "advice of the data protection officer, and views of the people concerned (Article 35(2) and (9))",
            "retention of the model and of this pack",
            "whether prior consultation is needed (Article 36)",
        ],
    }


def _unit(spec: Mapping[str, Any]) -> Any:
    """Return the privacy unit of a spec of any kind."""
    privacy = spec.get("privacy")
    return privacy.get("unit") if isinstance(privacy, dict) else None
