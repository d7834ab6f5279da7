"""A site's folder of approvals, beside its kit: what its data officer said about each job."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from almoner.admission.approvals import DAY_SECONDS, sign_approval, verify_approval
from almoner.admission.history import History
from almoner.admission.request import ApprovalState
from almoner.admission.user_certificates import Trust, load_certificate, subject_of
from almoner.data.atomic import write_atomically
from almoner.errors import CertificateRefused, DocumentError, PolicyViolation
from almoner.flare.site.site_files import ROOT_CA, SiteFiles
from almoner.schema.approval import Approval, SignedApproval, spec_digest
from almoner.schema.base import canonical_json, digest
from almoner.schema.documents import load_document
from almoner.schema.envelope import AnyJob, AnyJobSpec
from almoner.schema.policy import ManualApproval, SitePolicy

APPROVALS = "approvals"


@dataclass(frozen=True)
class Officer:
    """A data officer's key and certificate, in PEM."""

    key: bytes = field(repr=False)
    certificate: bytes


@dataclass(frozen=True)
class AskedJob:
    """What a data officer is asked about: all of it is shown, all of it is signed.

    Args:
        submitter: the common name of the signer's certificate.
        workload_digest: of the workload's code at the site; "" if it is not installed.
    """

    spec: AnyJobSpec
    sites: tuple[str, ...]
    submitter: str
    workload_digest: str

    @property
    def job_digest(self) -> str:
        """The digest that refusals name."""
        return spec_digest(self.spec, self.sites)


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
        trust = Trust((kit / ROOT_CA).read_bytes(), policy.revoked)
        approval = verify_approval(paper, rule, policy.site, job_digest, trust, now_unix_seconds)
    except DocumentError:
        return ApprovalState("the paper cannot be read")
    except PolicyViolation as error:
        return ApprovalState(str(error).partition(" → ")[0])
    if history.approvals.get(job_digest) != digest(paper):
        return ApprovalState("it is not the one that the ledger recorded last")
    approved = approval.verdict == "approved"
    return ApprovalState(
        "", approved, approval.expires_unix_seconds, digest(paper), approval.submitter, approval.workload_digest
    )


def recorded_job(site: SiteFiles, job_digest: str, submitter: str | None = None) -> AskedJob:
    """Return what was last submitted to a site under a digest, as its ledger has it.

    Args:
        submitter: whose submission; anybody's if not given.

    Raises:
        PolicyViolation: nothing was, or what the ledger shows is not what the digest is of.
    """
    with site.ledger() as ledger:
        decisions = (json.loads(entry.payload) for entry in reversed(ledger.entries()) if entry.kind == "decision")
        fitting = (decision for decision in decisions if decision.get("job_digest") == job_digest)
        found = next((decision for decision in fitting if submitter in (None, decision["submitter"])), None)
    if found is None:
        who = f" by {submitter}" if submitter else ""
        raise PolicyViolation(
            f"digest {job_digest}: never submitted to {site.policy.site}{who} → give the JobSpec instead"
        )
    try:
        spec = AnyJob.model_validate_json(canonical_json(found["spec"])).root
        asked = AskedJob(spec, tuple(found["sites"]), found["submitter"], found["workload_digest"])
    except (KeyError, ValidationError):
        raise PolicyViolation(f"digest {job_digest}: the ledger does not hold its spec → submit it again") from None
    if asked.job_digest != job_digest:
        raise PolicyViolation(f"digest {job_digest}: the ledger holds another spec under it → verify the ledger")
    return asked


def write_approval(site: SiteFiles, asked: AskedJob, approve: bool, officer: Officer, days: int) -> SignedApproval:
    """Sign, check as the site's door will, record in the ledger, and lay down an approval or a denial.

    Raises:
        PolicyViolation: the policy asks for no approval, or the officer is not one whom it admits.
        LedgerError: the ledger cannot be written; nothing is laid down then.
    """
    rule, now, job_digest = _required(site), int(time.time()), asked.job_digest
    name = subject_of(load_certificate(officer.certificate, "the officer's certificate"))[0]
    approval = Approval(
        statement="almoner-approval-2",
        site=site.policy.site,
        job_digest=job_digest,
        submitter=asked.submitter,
        workload_digest=asked.workload_digest,
        verdict="approved" if approve else "denied",
        officer=name,
        signed_unix_seconds=now,
        expires_unix_seconds=now + days * DAY_SECONDS,
    )
    paper = sign_approval(approval, officer.key, officer.certificate)
    try:
        verify_approval(paper, rule, site.policy.site, job_digest, site.trust, now)
    except CertificateRefused as error:
        raise CertificateRefused(f"approval by {name}: {error} → ask the operator for one that counts") from None
    except PolicyViolation as error:
        raise PolicyViolation(f"approval by {name}: {error} → see require.manual_approval of the policy") from None
    with site.ledger() as ledger:
        ledger.record("approval", {"approval_digest": digest(paper), **approval.model_dump(mode="json")})
    write_atomically(approval_path(site.folder, job_digest), canonical_json(paper) + b"\n")
    return paper
