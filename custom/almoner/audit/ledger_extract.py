"""A site's ledger as a part of a pack: all its entries, checked from the chain and the events alone.

The whole chain is in the part, since a hash covers an entry's text and an account is for life: an ε can be recomputed
only from everything that was charged. The entries hold declared parameters, digests and signatures, no private number.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature

from almoner.audit.authority import Party
from almoner.audit.strict_json import is_plain, parse_json
from almoner.errors import EvidenceError, LedgerError
from almoner.privacy.budget import charge_of
from almoner.privacy.ledger_entries import FIRST_PREVIOUS, Committed, Entry, parse_payload
from almoner.privacy.ledger_replay import Replay
from almoner.protection.signing import verify_with
from almoner.schema.base import canonical_json
from almoner.schema.decision import decision_statement
from almoner.schema.receipt import PrivacyEvent

_FIELDS = frozenset({"seq", "time", "kind", "payload", "previous", "hash"})


@lru_cache(maxsize=65536)
def honest_charge(events: tuple[PrivacyEvent, ...], order: int) -> float:
    """Return what events are charged at an order, by today's arithmetic."""
    return charge_of(events, order)


def write_entries(entries: Iterable[Entry]) -> bytes:
    """Return a ledger's entries, one line of canonical JSON each."""
    return b"".join(canonical_json(vars(entry)) + b"\n" for entry in entries)


def read_entries(data: bytes, where: str) -> tuple[Entry, ...]:
    """Read what `write_entries` wrote.

    Raises:
        EvidenceError: a line is not an entry in its one spelling.
    """
    entries = []
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        fields = parse_json(line, f"{where}: line {number}")
        typed = all(type(value) is (int if name == "seq" else str) for name, value in fields.items())
        if fields.keys() != _FIELDS or not typed or canonical_json(fields) != line:
            raise EvidenceError(f"{where}: line {number}: not a ledger's entry in canonical JSON")
        entries.append(Entry(**fields))
    if not entries or not data.endswith(b"\n"):
        raise EvidenceError(f"{where}: no entries, or the last line was cut off")
    return tuple(entries)


@dataclass(frozen=True)
class Book:
    """A ledger that holds together.

    Args:
        entries: all of them.
        replay: the state that they leave.
    """

    site: str
    entries: tuple[Entry, ...]
    replay: Replay

    def commits(self) -> Iterator[tuple[Entry, Committed]]:
        """Yield each commit with its entry."""
        for entry in self.entries:
            if entry.kind == "committed":
                yield entry, Committed.model_validate_json(entry.payload)

    def payloads(self, kind: str) -> Iterator[tuple[Entry, dict[str, Any]]]:
        """Yield the entries of a kind with their payload."""
        for entry in self.entries:
            if entry.kind == kind:
                yield entry, json.loads(entry.payload)

    def hash_at(self, seq: int) -> str | None:
        """Return the hash of an entry, None if there is none of that number."""
        return self.entries[seq - 1].hash if 0 < seq <= len(self.entries) else None


def replay_entries(entries: tuple[Entry, ...], site: str, where: str) -> Book:
    """Check a ledger's chain and every transition, and rebuild its state.

    *Guarantee*: each entry follows the one before, is a legal transition, no account was ever over its cap, and every
    charge follows from its events.

    Raises:
        EvidenceError: naming the first bad entry.
    """
    replay, previous = Replay(), FIRST_PREVIOUS
    for number, entry in enumerate(entries, start=1):
        try:
            if entry.seq != number or entry.previous != previous or entry.hash != entry.expected_hash():
                raise LedgerError("it does not follow from the entry before, or its content does not match its hash")
            payload = parse_payload(entry)
            if isinstance(payload, dict) and not is_plain(payload):
                raise LedgerError("its payload is nested too deep, or has a number or text that is none everywhere")
            replay.apply(payload)
        except LedgerError as error:
            raise EvidenceError(f"{where}: entry {number} ({entry.kind}): {error}") from None
        previous = entry.hash
    if replay.site != site:
        raise EvidenceError(f"{where}: the ledger of {replay.site}, not of {site}")
    return Book(site, entries, replay)


def verify_decisions(book: Book, party: Party, where: str) -> None:
    """Check that the site signed every decision in its ledger.

    Raises:
        EvidenceError: naming the first that it did not sign.
    """
    for entry, decision in book.payloads("decision"):
        if decision.get("site") != book.site:
            raise EvidenceError(f"{where}: entry {entry.seq}: a decision of {_short(decision.get('site'))}")
        try:
            verify_with(party.key, bytes.fromhex(decision.get("signature", "")), decision_statement(decision))
        except (InvalidSignature, ValueError, TypeError):
            raise EvidenceError(f"{where}: entry {entry.seq}: a decision that {party.name} did not sign") from None


def ledger_claims(book: Book, recompute: bool) -> dict[str, Any]:
    """Return what a ledger amounts to: each account's sums and ε, and every commit with the sums so far.

    Args:
        recompute: take charges from the events anew; else as the ledger recorded them.
    """
    spent = dict.fromkeys(book.replay.accounts, 0.0)
    commits = []
    for entry, committed in book.commits():
        receipt = committed.receipt
        population = book.replay.jobs[receipt.job_id].reserved.population
        renyi = book.replay.accounts[population].filter
        charge = honest_charge(receipt.events, renyi.order) if recompute else committed.charge
        spent[population] += charge
        row = {"seq": entry.seq, "hash": entry.hash, "job_id": receipt.job_id, "step": receipt.step}
        sums = {"rdp_committed": spent[population], "epsilon_committed": renyi.epsilon_of(spent[population])}
        commits.append({**row, "population": population, "charge": charge, **sums})
    last = book.entries[-1]
    return {
        "head": {"seq": last.seq, "hash": last.hash},
        "accounts": [_account_claim(book, name, spent[name], recompute) for name in sorted(spent)],
        "commits": commits,
    }


def _account_claim(book: Book, population: str, committed: float, recompute: bool) -> dict[str, Any]:
    """Return one account's figures."""
    account = book.replay.accounts[population]
    opened, renyi = account.opened.account, account.filter
    held = account.spent
    if recompute:
        held = math.fsum(
            honest_charge(step.events, renyi.order)
            for job in book.replay.jobs.values()
            if job.reserved.population == population
            for position, step in enumerate(job.reserved.steps)
            if job.status != "settled" or position in job.committed
        )
    return {
        **opened.model_dump(mode="json"),
        "order": renyi.order,
        "rdp_budget": renyi.budget,
        "rdp_spent": held,
        "epsilon_spent": renyi.epsilon_of(held),
        "rdp_committed": committed,
        "epsilon_committed": renyi.epsilon_of(committed),
    }


def require_equal(claimed: Any, found: Any, where: str, tolerance: float = 1e-9) -> None:
    """Check that a signed claim is what was found; numbers may differ in their last digits, as machines do.

    Raises:
        EvidenceError: naming the first field that differs.
    """
    if isinstance(found, float) or isinstance(claimed, float):
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (claimed, found))
        if numbers and math.isclose(claimed, found, rel_tol=tolerance, abs_tol=1e-11):
            return
    elif isinstance(found, dict) and isinstance(claimed, dict) and found.keys() == claimed.keys():
        for key in found:
            require_equal(claimed[key], found[key], f"{where}.{key}", tolerance)
        return
    elif isinstance(found, list) and isinstance(claimed, list) and len(found) == len(claimed):
        for index, (one, other) in enumerate(zip(claimed, found, strict=True)):
            require_equal(one, other, f"{where}[{index}]", tolerance)
        return
    elif type(claimed) is type(found) and claimed == found:
        return
    raise EvidenceError(f"{where}: stated is {_short(claimed)}, recomputed {_short(found)}")


def _short(value: Any) -> str:
    """Return a value in at most 80 characters, on one line."""
    return json.dumps(value, default=str)[:80]
