"""The red-team report in a pack: what it says that it attacked, and whether that is the packed job.

A report names the job whose spec it attacked by the digest of the spec, and the code by the digest of the package. The
figures in it are the server's: signed, not recomputed.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from almoner.audit import parts as names
from almoner.audit.strict_json import parse_json
from almoner.audit.submission import Submission
from almoner.errors import EvidenceError
from almoner.schema.attacked import attacked_job

_FIELDS = ("job", "spec_sha256", "package_sha256", "almoner_version")


def attacks_claim(redteam: bytes | None, submission: Submission) -> dict[str, Any]:
    """Return whether the claims were attacked, what the report says it attacked, and whether that is the packed job.

    Raises:
        EvidenceError: the report is not a JSON mapping.
    """
    if redteam is None:
        return {"status": "not run", "why": "no red-team report was at hand; ε is a proven bound, not a measurement"}
    report = parse_json(redteam, names.REDTEAM)
    attacked = _attacked(report)
    return {
        "status": "run",
        "sha256": hashlib.sha256(redteam).hexdigest(),
        "fields": sorted(report),
        "attacked": attacked,
        "is_this_job": attacked.get("spec_sha256") == _spec_digest(submission),
    }


def refuse_other_job(redteam: bytes | None, submission: Submission) -> None:
    """Refuse to pack a report that says it is of another job.

    Raises:
        EvidenceError: it says so.
    """
    claim = attacks_claim(redteam, submission)
    if claim["status"] == "run" and claim["attacked"] and not claim["is_this_job"]:
        raise EvidenceError(
            f"red-team report: of job {claim['attacked'].get('job')} with the spec "
            f"{str(claim['attacked'].get('spec_sha256'))[:12]}, not of {submission.envelope['spec'].get('name')} with "
            f"{_spec_digest(submission)[:12]} → run `almoner redteam run` on the job file that was submitted"
        )


def attack_gaps(redteam: bytes | None, submission: Submission, packages: Mapping[str, str]) -> list[str]:
    """Return what a pack does not show about attacks, one line each.

    Args:
        packages: digest of the package by which each site decided about the job.
    """
    claim = attacks_claim(redteam, submission)
    if claim["status"] != "run":
        return ["no red-team results: the ε is a proven bound, it was not attacked for this pack"]
    attacked = claim["attacked"]
    if not attacked:
        return ["the red-team report does not say which job it attacked"]
    if not claim["is_this_job"]:
        return [f"the red-team report is of another job: {attacked.get('job')}, with another spec than was submitted"]
    gaps = ["the red-team report says it attacked this job's spec; its figures are the server's, and not recomputed"]
    others = sorted(site for site, package in packages.items() if package != attacked.get("package_sha256"))
    return gaps + (
        [f"the red team attacked another build of the package than {', '.join(others)} ran"] if others else []
    )


def _attacked(report: Mapping[str, Any]) -> dict[str, str]:
    """Return what a report says it attacked, {} if it says nothing that can be read."""
    said = report.get("attacked")
    found = {key: said[key] for key in _FIELDS if isinstance(said.get(key), str)} if isinstance(said, dict) else {}
    return found if "spec_sha256" in found else {}


def _spec_digest(submission: Submission) -> str:
    return attacked_job(submission.envelope["spec"], "")["spec_sha256"]
