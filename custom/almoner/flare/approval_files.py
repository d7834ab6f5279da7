"""A site's folder of approvals, beside its kit: what its data officer said about each job."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from almoner.admission.approvals import DAY_SECONDS, load_certificate, officer_of, sign_approval, verify_approval
from almoner.admission.history import History
from almoner.admission.request import ApprovalState
from almoner.data.atomic import write_atomically
from almoner.errors import DocumentError, PolicyViolation
from almoner.flare.site_files import ROOT_CA, SiteFiles
from almoner.schema.approval import Approval, SignedApproval
from almoner.schema.base import canonical_json, digest
from almoner.schema.documents import load_document
from almoner.schema.policy import ManualApproval, SitePolicy

APPROVALS = "approvals"


@dataclass(frozen=True)
class Officer:
    """A data officer's key and certificate, in PEM."""

    key: bytes = field(repr=False)
    certificate: bytes


def approval_path(folder: Path, job_digest: str) -> Path:
    """Return where the approval of a job lies in a site's folder."""
    return folder / APPROVALS / f"{job_digest}.json"


def _required(site: SiteFiles) -> ManualApproval:
    """Return what the site asks of an approval."""
    rule = site.policy.require.manual_approval
    if rule is None:
        raise PolicyViolation(f"{site.policy.site}: its policy asks for no approval → set require.manual_approval")
    return rule


def read_approval(
    policy: SitePolicy, kit: Path, history: History, job_digest: str, now_unix_seconds: float
) -> ApprovalState | None:
    """Return what the data officer said about a job, verified; None if nothing.

    The paper must be the one that the ledger recorded last about this job: an older one that was put back,
    or one that was laid there past the ledger, does not count.

    Args:
        kit: the site's kit; the approvals lie beside it.
    """
    rule, path = policy.require.manual_approval, approval_path(kit.parent, job_digest)
    if rule is None or not path.exists():
        return None
    try:
        paper = load_document(path, SignedApproval)
        root = (kit / ROOT_CA).read_bytes()
        approval = verify_approval(paper, rule, policy.site, job_digest, root, now_unix_seconds)
    except DocumentError:
        return ApprovalState("the paper cannot be read")
    except PolicyViolation as error:
        return ApprovalState(str(error).partition(" → ")[0])
    if history.approvals.get(job_digest) != digest(paper):
        return ApprovalState("it is not the one that the ledger recorded last")
    approved = approval.verdict == "approved"
    return ApprovalState("", approved, approval.expires_unix_seconds, digest(paper))


def last_submission(site: SiteFiles, job_digest: str) -> dict[str, Any] | None:
    """Return the site's last recorded decision about a job, None if it was never submitted here."""
    with site.ledger() as ledger:
        decisions = (json.loads(entry.payload) for entry in reversed(ledger.entries()) if entry.kind == "decision")
        return next((decision for decision in decisions if decision.get("job_digest") == job_digest), None)


def write_approval(site: SiteFiles, job_digest: str, approve: bool, officer: Officer, days: int) -> SignedApproval:
    """Sign, check as the site's door will, record in the ledger, and lay down an approval or a denial.

    Raises:
        PolicyViolation: the policy asks for no approval, or the officer is not one whom it admits.
        LedgerError: the ledger cannot be written; nothing is laid down then.
    """
    rule, now = _required(site), int(time.time())
    name = officer_of(load_certificate(officer.certificate, "the officer's certificate"))[0]
    approval = Approval(
        statement="almoner-approval-1",
        site=site.policy.site,
        job_digest=job_digest,
        verdict="approved" if approve else "denied",
        officer=name,
        signed_unix_seconds=now,
        expires_unix_seconds=now + days * DAY_SECONDS,
    )
    paper = sign_approval(approval, officer.key, officer.certificate)
    verify_approval(paper, rule, site.policy.site, job_digest, site.root_ca.read_bytes(), now)
    with site.ledger() as ledger:
        ledger.record("approval", {"approval_digest": digest(paper), **approval.model_dump(mode="json")})
    write_atomically(approval_path(site.folder, job_digest), canonical_json(paper) + b"\n")
    return paper
