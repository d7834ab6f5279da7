"""The server's transparency log as the process of one job writes and shows it.

A site signs its ledger's head with every result, after the result was charged: so the log holds a signed commitment
to every round's commit as it happened. Submission and decisions are in it before data is read, the outcome at the end.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from almoner.audit.authority import Root
from almoner.audit.log_entries import Fact, entries_of, log_entry, missing_facts
from almoner.audit.log_facts import LOG_PART, LogHead, job_facts
from almoner.audit.log_file import TransparencyLog
from almoner.audit.log_shown import Asked, ShownLog, show_log
from almoner.audit.strict_json import read_model
from almoner.audit.submission import read_submission
from almoner.audit.tree_heads import SignedTreeHead
from almoner.data.atomic import write_atomically
from almoner.flare.site.kit_files import read_file, read_root
from almoner.privacy.heads import SignedHead
from almoner.schema.base import canonical_json

LOG_FOLDER = "log"
"""The server's transparency log, relative to its folder: beside the kit, outside FLARE's workspace."""

COSIGNED_FOLDER = "cosigned"
"""In it, for each job the head that sites cosigned when it ended."""


class LiveLog:
    """The log as one job's process writes to it.

    Args:
        server: the server's folder.
        job_id: FLARE's id of the job.
    """

    def __init__(self, server: Path, job_id: str) -> None:
        self._server, self._job_id = server, job_id
        self._log = TransparencyLog(server / LOG_FOLDER)

    def heads(self, heads: Mapping[str, SignedHead]) -> None:
        """Log heads whose signatures the caller has checked; on return they are durable.

        Raises:
            EvidenceError: the log is damaged.
        """
        entries = (log_entry("head", self._job_id, site, head.to_json()) for site, head in heads.items())
        self._log.append(entry.to_bytes() for entry in entries)

    def add(self, facts: Iterable[Fact]) -> None:
        """Log what the log does not have of the job yet; on return it is durable.

        Raises:
            EvidenceError: the log is damaged.
        """
        add_missing(self._log, self._job_id, facts)

    def submitted(self) -> list[Fact]:
        """Return what is logged of the submission; nothing if FLARE's job store does not have it.

        Raises:
            EvidenceError: it is not one that the root's people signed.
        """
        path = self._server / "jobs" / self._job_id / "data"
        if not path.is_file():
            return []
        root = Root(read_root(self._server / "kit"))
        return job_facts(read_submission(read_file(path), root, f"job {self._job_id}").claim(), None)

    def publish(self) -> SignedTreeHead:
        """Sign the log as it stands.

        Raises:
            EvidenceError: the log is damaged, or the kit has no key.
        """
        startup = self._server / "kit" / "startup"
        root = Root(read_root(self._server / "kit"))
        server = root.party(read_file(startup / "server.crt"), None, "the server's certificate")
        return self._log.publish(server.key_id, read_file(startup / "server.key"))

    def show(self, signed: SignedTreeHead, asked: Mapping[str, Asked]) -> ShownLog:
        """Return a head with what sites must see proven.

        Raises:
            EvidenceError: the log is damaged.
        """
        certificate = read_file(self._server / "kit" / "startup" / "server.crt")
        return show_log(self._log.entries(), signed, certificate, self._job_id, asked)

    def consistency(self, old: SignedTreeHead, new: SignedTreeHead) -> tuple[str, ...]:
        """Return the proof that a head extends an older one, hexadecimal."""
        proof = self._log.tree().consistency_proof(old.head.size, new.head.size)
        return tuple(digest.hex() for digest in proof)

    def keep(self, cosigned: LogHead) -> None:
        """Keep the head that sites cosigned, for the job's evidence."""
        write_atomically(_cosigned_path(self._server, self._job_id), canonical_json(cosigned) + b"\n")


def add_missing(log: TransparencyLog, job_id: str, facts: Iterable[Fact]) -> None:
    """Append what a log does not have of a job yet; on return it is durable.

    Raises:
        EvidenceError: the log is damaged.
    """
    known = [entry for _, entry in entries_of(log.entries(), job_id)]
    if new := [log_entry(kind, job_id, site, found) for kind, site, found in missing_facts(known, job_id, facts)]:
        log.append(entry.to_bytes() for entry in new)


def read_cosigned(server: Path, job_id: str) -> LogHead | None:
    """Return the head that sites cosigned when a job ended; None if none did.

    Raises:
        EvidenceError: the file is damaged.
    """
    path = _cosigned_path(server, job_id)
    if not path.exists():
        return None
    return read_model(LogHead, read_file(path), str(path), LOG_PART)


def _cosigned_path(server: Path, job_id: str) -> Path:
    """Return where a job's cosigned head is kept."""
    return server / LOG_FOLDER / COSIGNED_FOLDER / f"{job_id}.json"
