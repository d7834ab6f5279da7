"""Which job a result must be of: the server hands over job and result, and could hand over another's.

Of what a user submits, the digest is kept in his kit; of other jobs he has the exported folder, or knows who signed.

Mitigates: T-162.
"""

import uuid
from dataclasses import dataclass
from pathlib import Path

from almoner.audit.strict_json import parse_json
from almoner.audit.submission import ENVELOPE_FILE, Submission
from almoner.errors import EvidenceError, FederationError
from almoner.schema.base import digest

SUBMITTED = "submitted"
"""The folder in a user's kit: one file a job, named by FLARE's id, with the digest of the envelope."""


@dataclass(frozen=True)
class KnownJob:
    """A job whose envelope is known, by its digest, hexadecimal."""

    envelope_digest: str

    def check(self, submission: Submission) -> None:
        """Compare a submission that the server shows.

        Raises:
            EvidenceError: it is another.
        """
        if submission.envelope_digest != self.envelope_digest:
            raise EvidenceError(f"the server shows a job of {submission.submitter.name} that is not the one submitted")


@dataclass(frozen=True)
class JobOf:
    """Any job that a user signed: its sites, and how many of them must sign, are then what he once wrote."""

    user: str

    def check(self, submission: Submission) -> None:
        """Compare a submission that the server shows.

        Raises:
            EvidenceError: another user signed it.
        """
        if submission.submitter.name != self.user:
            raise EvidenceError(f"the server shows a job of {submission.submitter.name}, not of {self.user}")


Origin = KnownJob | JobOf


def exported_job(folder: Path) -> KnownJob:
    """Return the job in an exported folder.

    Raises:
        FederationError: it is none.
    """
    path = folder / ENVELOPE_FILE
    try:
        return KnownJob(digest(parse_json(path.read_bytes(), str(path))))
    except (OSError, EvidenceError):
        raise FederationError(f"{path}: cannot be read → give the folder that `almoner job export` printed") from None


def make_room(kit: Path) -> None:
    """Make the folder for what a user submits, before he submits it.

    Raises:
        FederationError: it cannot be made.
    """
    try:
        (kit / SUBMITTED).mkdir(exist_ok=True)
    except OSError as error:
        raise FederationError(f"{kit / SUBMITTED}: cannot be made ({error.strerror}) → make the kit writable") from None


def remember(kit: Path, job_id: str, job: KnownJob) -> None:
    """Keep what was submitted; the whole file or nothing.

    Args:
        job_id: as the server gave it; what is none is refused, since it becomes a file's name.

    Raises:
        FederationError: it is no id, or the file cannot be written.
    """
    path = _path(kit, job_id)
    draft = path.with_suffix(".part")
    try:
        draft.write_text(job.envelope_digest)
        draft.replace(path)
    except OSError as error:
        raise FederationError(f"{path}: cannot be written ({error.strerror}) → keep the exported folder") from None


def submitted_job(kit: Path, job_id: str) -> KnownJob:
    """Return a job that was submitted with a kit.

    Raises:
        FederationError: it was not.
    """
    path = _path(kit, job_id)
    try:
        return KnownJob(path.read_text())
    except (OSError, ValueError):
        raise FederationError(
            f"job {job_id} was not submitted with this kit → --job the folder that was exported, or --of the user who "
            "submitted it, to take what he signed"
        ) from None


def _path(kit: Path, job_id: str) -> Path:
    """Return where a job's digest is kept."""
    try:
        return kit / SUBMITTED / str(uuid.UUID(job_id))
    except ValueError:
        raise FederationError(f"{job_id[:80]!r}: not the id of a job → one that `almoner job list` shows") from None
