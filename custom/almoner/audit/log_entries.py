"""What stands in the transparency log: facts of jobs, each as one line of canonical JSON.

A log is what a blockchain is proposed for, without one: nobody can change or drop an entry once a site has cosigned
a head that covers it, since a site signs only heads that extend the one it signed last. There is one writer, who is
known; so there is nothing to agree on, no fee and no second network, and what is in the entries is digests.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from almoner.errors import EvidenceError
from almoner.schema.base import Model, canonical_json, digest

Kind = Literal["job", "decision", "head", "update", "result"]
"""job: what was submitted, by whom. decision: a site's signed answer. head: a site's signed ledger head.
update: a round's contributors and the root of what they committed to. result: what the job left."""


Fact = tuple[Kind, str, dict[str, Any]]
"""Kind, site ("" for the server's), and what is logged."""


class LogEntry(Model):
    """One entry.

    Args:
        job_id: FLARE's id of the job.
        site: whose fact it is; "" for the server's.
        time: when it was appended, by the server's clock, ISO 8601.
        facts: digests and public values.
    """

    almoner: Literal["log-entry-1"] = "log-entry-1"
    kind: Kind
    job_id: str
    site: str
    time: Annotated[str, Field(max_length=40)]
    facts: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Return the bytes that are hashed and stored."""
        return canonical_json(self)

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> "LogEntry":
        """Read an entry.

        Raises:
            EvidenceError: it is none, or not in its one spelling.
        """
        try:
            entry = cls.model_validate_json(data)
            canonical = entry.to_bytes() == data
        except (ValueError, RecursionError):
            raise EvidenceError(f"{where}: not an entry of this log") from None
        if not canonical:
            raise EvidenceError(f"{where}: not canonical JSON")
        return entry


def log_entry(kind: Kind, job_id: str, site: str, facts: dict[str, Any]) -> LogEntry:
    """Return an entry of this moment."""
    return LogEntry(
        kind=kind, job_id=job_id, site=site, time=datetime.now(UTC).isoformat(timespec="milliseconds"), facts=facts
    )


def entries_of(entries: Iterable[bytes], job_id: str) -> Iterator[tuple[int, LogEntry]]:
    """Yield a job's entries of a log, each with its number; those of other jobs are not parsed.

    Raises:
        EvidenceError: an entry that names the job cannot be read.
    """
    named = job_id.encode()
    for index, data in enumerate(entries):
        if named in data:
            entry = LogEntry.from_bytes(data, f"log: entry {index}")
            if entry.job_id == job_id:
                yield index, entry


def missing_facts(known: Iterable[LogEntry], job_id: str, facts: Iterable[Fact]) -> list[Fact]:
    """Return the facts that the log does not have yet."""
    logged = {_key(entry.kind, entry.site, entry.facts) for entry in known if entry.job_id == job_id}
    return [fact for fact in facts if _key(*fact) not in logged]


def unexplained(known: Iterable[LogEntry], facts: Iterable[Fact], sites: Container[str]) -> list[tuple[int, str]]:
    """Return place and kind of the entries that none of the facts stands for, of one job.

    Ledger heads are left out, of which there are any number, and decisions of sites whose ledger is not at hand.
    """
    explained = {_key(*fact) for fact in facts}
    return [
        (number, entry.kind)
        for number, entry in enumerate(known)
        if entry.kind != "head"
        and (entry.kind != "decision" or entry.site in sites)
        and _key(entry.kind, entry.site, entry.facts) not in explained
    ]


def _key(kind: str, site: str, facts: Mapping[str, Any]) -> str:
    """Return what makes two facts the same."""
    return digest([kind, site, dict(facts)])
