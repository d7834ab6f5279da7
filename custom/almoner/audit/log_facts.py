"""What of a job goes into the transparency log, as functions of its evidence, and the log's parts of a pack."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from almoner.audit.hash_tree import HashTree, leaf_hash, verify_consistency
from almoner.audit.ledger_extract import Book
from almoner.audit.log_entries import Fact, entries_of
from almoner.audit.site_statements import admitted_decision
from almoner.audit.tree_heads import ProvenEntry, SignatureHex, SignedTreeHead, prove_entry
from almoner.errors import EvidenceError
from almoner.schema.base import Digest, Document, Model, Name, digest

LOG_PART = "what the log's part of a pack looks like"


class Earlier(Model):
    """The head before this one, and that this one extends it."""

    signed: SignedTreeHead
    consistency: tuple[Digest, ...]


class LogHead(Document):
    """`log/head.json`: the log as the pack sees it, and which sites stand for it."""

    schema_version: Literal[1] = 1
    signed: SignedTreeHead
    cosignatures: dict[Name, SignatureHex]
    earlier: Earlier | None = None

    def verify_earlier(self, where: str) -> None:
        """Check that the head extends the one before.

        Raises:
            EvidenceError: it does not.
        """
        if self.earlier is None:
            return
        old, new = self.earlier.signed.head, self.signed.head
        if old.log != new.log:
            raise EvidenceError(f"{where}: the head before this one is of another log")
        roots, proof = (bytes.fromhex(old.root), bytes.fromhex(new.root)), self.earlier.consistency
        try:
            verify_consistency(old.size, roots[0], new.size, roots[1], [bytes.fromhex(digest) for digest in proof])
        except EvidenceError as error:
            raise EvidenceError(f"{where}: {error}") from None


class LogEntries(Document):
    """`log/entries.json`: the job's entries, each with the proof that it is in the log."""

    schema_version: Literal[1] = 1
    entries: tuple[ProvenEntry, ...] = Field(max_length=1_000_000)


def job_facts(submission: Mapping[str, Any] | None, outcome: Mapping[str, Any] | None) -> list[Fact]:
    """Return what the server knows of a job.

    Args:
        submission: submitter and envelope_digest.
        outcome: what the job left; None if it did not finish.
    """
    facts: list[Fact] = []
    if submission is not None:
        facts.append(("job", "", {key: submission[key] for key in ("submitter", "envelope_digest")}))
    if outcome is None:
        return facts
    facts += [("head", site, dict(head)) for site, head in sorted(outcome["heads"].items())]
    keys = ("round", "contributors", "commitments_root")
    facts += [("update", "", {key: record[key] for key in keys}) for record in outcome["rounds"]]
    return [*facts, ("result", "", {"outcome": digest(dict(outcome))})]


def site_facts(book: Book, job_id: str, newest: Mapping[str, Any] | None) -> list[Fact]:
    """Return what is known of a job at one site: its signed decisions, and the newest ledger head that it signed."""
    decisions = (found for _, found in book.payloads("decision") if found.get("job_id") == job_id)
    facts: list[Fact] = [
        ("decision", book.site, {"decision": digest(found), "verdict": found.get("verdict")}) for found in decisions
    ]
    if newest is not None and admitted_decision(book, job_id) is not None:
        facts.append(("head", book.site, dict(newest)))
    return facts


def proven_entries(entries: tuple[bytes, ...], job_id: str, size: int) -> tuple[ProvenEntry, ...]:
    """Return the entries of a job with their proofs in the log's first `size` entries."""
    tree = HashTree(map(leaf_hash, entries[:size]))
    return tuple(prove_entry(tree, index, entry) for index, entry in entries_of(entries[:size], job_id))
