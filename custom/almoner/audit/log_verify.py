"""Steps 10 and 11 of verifying a pack: ledger heads that sites signed, and the transparency log."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from cryptography.exceptions import InvalidSignature

from almoner.audit import parts as names
from almoner.audit.authority import Party
from almoner.audit.ledger_extract import Book
from almoner.audit.log_entries import LogEntry, missing_facts, unexplained
from almoner.audit.log_facts import LOG_PART, LogEntries, LogHead, job_facts, site_facts
from almoner.audit.pack_read import Pack
from almoner.audit.strict_json import parse_json, read_model
from almoner.audit.submission import Submission
from almoner.audit.tree_heads import SignedTreeHead, verify_cosignature
from almoner.errors import EvidenceError, ProtocolError
from almoner.privacy.heads import SignedHead, cosign_statement, head_statement
from almoner.protection.signing import verify_with
from almoner.schema.base import Model, canonical_json

M = TypeVar("M", bound=Model)


def newest_heads(pack: Pack) -> dict[str, dict[str, Any]]:
    """Return the newest ledger head that the server holds of each site, as plain JSON.

    Raises:
        EvidenceError: the part is not of heads.
    """
    heads = parse_json(pack.part(names.HEADS), names.HEADS).get("heads")
    if not isinstance(heads, dict):
        raise EvidenceError(f"{names.HEADS}: not of ledger heads")
    return heads


def verify_heads(pack: Pack, outcome: Mapping[str, Any] | None, books: Mapping[str, Book]) -> int:
    """Check every signed ledger head of the pack against its site's ledger; return how many there are.

    Raises:
        EvidenceError: a head is not signed by its site, or is not in its ledger; or a site did not sign what it
            was shown of the others.
    """
    shown = _read_heads((outcome or {}).get("heads", {}), names.OUTCOME)
    count = 0
    for where, heads in ((names.HEADS, _read_heads(newest_heads(pack), names.HEADS)), (names.OUTCOME, shown)):
        for site in heads.keys() & books.keys():
            _verify_head(heads[site], site, pack.sites[site], books[site], where)
            count += 1
    for site, signature in dict((outcome or {}).get("cosignatures", {})).items():
        if site in pack.sites:
            statement = cosign_statement(site, pack.job_id, shown)
            _verify(pack.sites[site], signature, statement, f"{names.OUTCOME}: the heads that {site} kept")
    return count + sum(_verify_held(pack, holder, books) for holder in books)


def _verify_held(pack: Pack, holder: str, books: Mapping[str, Book]) -> int:
    """Check the heads that a site wrote into its own ledger, of the others of the pack; return how many.

    Those that were signed with an older certificate no longer count.
    """
    count = 0
    for site, head in _read_heads(_held(books[holder]), names.of_site(holder, names.LEDGER)).items():
        if site in books and _is_signed(pack.sites[site], head):
            _verify_head(head, site, pack.sites[site], books[site], f"the ledger of {holder}")
            count += 1
    return count


def _held(book: Book) -> dict[str, Any]:
    """Return the heads of others that a ledger holds; its newest entry of them has them all."""
    entries = [found.get("heads") for _, found in book.payloads("heads")]
    return entries[-1] if entries and isinstance(entries[-1], dict) else {}


def headless(pack: Pack, outcome: Mapping[str, Any] | None, books: Mapping[str, Book]) -> list[str]:
    """Return the sites that charged the job, and of which neither the server nor another site shows a ledger head."""
    shown = set((outcome or {}).get("heads", {})) | newest_heads(pack).keys()
    for book in books.values():
        shown |= _held(book).keys() - {book.site}
    charged = {site for site, book in books.items() if pack.job_id in book.replay.jobs}
    return sorted(charged - shown)


def uncosigned(outcome: Mapping[str, Any], books: Mapping[str, Book]) -> list[str]:
    """Return the sites of the pack whose signature over the heads that they were shown the result does not have."""
    return sorted((books.keys() & outcome.get("heads", {}).keys()) - outcome.get("cosignatures", {}).keys())


def verify_log(
    pack: Pack, server: Party, submission: Submission, outcome: Mapping[str, Any] | None, books: Mapping[str, Book]
) -> tuple[int, int]:
    """Check the log's head, and that it has what happened; return the numbers of entries and of cosignatures.

    Raises:
        EvidenceError: the head is not signed by the server, a site of the pack did not cosign it, an entry is not
            in the log, a site's logged head is not in its ledger, or what the pack shows was not logged.
    """
    log_head = _log_part(pack, LogHead, names.LOG_HEAD)
    entries = _log_part(pack, LogEntries, names.LOG_ENTRIES)
    signed = log_head.signed
    try:
        signed.verify(server.key)
        if log_head.earlier is not None:
            log_head.earlier.signed.verify(server.key)
        if signed.head.log != server.key_id:
            raise EvidenceError("log: the head is of another server's log")
        log_head.verify_earlier(names.LOG_HEAD)
        for site, party in pack.sites.items():
            verify_cosignature(signed.head, site, party.key, log_head.cosignatures.get(site, ""))
    except EvidenceError as error:
        raise EvidenceError(f"{names.LOG_HEAD}: {error}") from None
    if unknown := set(log_head.cosignatures) - set(pack.sites):
        raise EvidenceError(f"{names.LOG_HEAD}: cosigned by {sorted(unknown)[0]}, which has no part in the pack")
    logged = _read_entries(entries, signed, pack.job_id)
    for number, entry in enumerate(logged):
        if entry.kind == "head" and entry.site in books:
            where = f"{names.LOG_ENTRIES}: entry {number}"
            head = _read_heads({entry.site: entry.facts}, where)[entry.site]
            _verify_head(head, entry.site, pack.sites[entry.site], books[entry.site], where)
    newest = newest_heads(pack)
    facts = job_facts(submission.claim(), outcome)
    facts += [fact for site, book in books.items() for fact in site_facts(book, pack.job_id, newest.get(site))]
    for kind, site, _ in missing_facts(logged, pack.job_id, facts):
        raise EvidenceError(f"{names.LOG_ENTRIES}: a fact of kind {kind} of {site or 'the server'} is not in the log")
    for number, found in unexplained(logged, facts, books):
        where = f"{names.LOG_ENTRIES}: entry {number}"
        raise EvidenceError(f"{where}: a fact of kind {found} that the pack contradicts, or does not have")
    return len(logged), len(log_head.cosignatures)


def _log_part(pack: Pack, model: type[M], name: str) -> M:
    """Read one of the log's parts, which has one spelling."""
    part = read_model(model, pack.part(name), name, LOG_PART)
    if canonical_json(part) != pack.part(name):
        raise EvidenceError(f"{name}: not {LOG_PART}, in its one spelling")
    return part


def _read_entries(entries: LogEntries, signed: SignedTreeHead, job_id: str) -> list[LogEntry]:
    """Return a job's entries after checking that each is in the log, once."""
    logged, last = list[LogEntry](), -1
    for number, proven in enumerate(entries.entries):
        where = f"{names.LOG_ENTRIES}: entry {number}"
        if proven.index <= last:
            raise EvidenceError(f"{where}: out of order, or twice")
        entry, last = proven.read(signed, where), proven.index
        if entry.job_id != job_id:
            raise EvidenceError(f"{where}: of job {json.dumps(entry.job_id)[:80]}, not of this one")
        logged.append(entry)
    return logged


def _read_heads(values: Mapping[str, Any], where: str) -> dict[str, SignedHead]:
    """Read ledger heads by site."""
    try:
        return {site: SignedHead.from_json(value) for site, value in values.items()}
    except ProtocolError as error:
        raise EvidenceError(f"{where}: {error}") from None


def _verify_head(head: SignedHead, site: str, party: Party, book: Book, where: str) -> None:
    """Check one signed ledger head."""
    statement = head_statement(site, head.seq, head.hash, head.occasion)
    _verify(party, head.signature.hex(), statement, f"{where}: the ledger head of {site}")
    if book.hash_at(head.seq) != head.hash:
        ledger = names.of_site(site, names.LEDGER)
        raise EvidenceError(f"{ledger}: lacks entry {head.seq} as {site} signed it for {where}: it was rolled back")


def _is_signed(party: Party, head: SignedHead) -> bool:
    """Say whether a site's present certificate signed a head."""
    try:
        _verify(party, head.signature.hex(), head_statement(party.name, head.seq, head.hash, head.occasion), "")
    except EvidenceError:
        return False
    return True


def _verify(party: Party, signature: str, statement: bytes, where: str) -> None:
    """Check a site's signature."""
    try:
        verify_with(party.key, bytes.fromhex(str(signature)), statement)
    except (InvalidSignature, ValueError):
        raise EvidenceError(f"{where}: not signed by {party.name}") from None
