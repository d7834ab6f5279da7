"""The chain of entries as SQL: reads it, and adds to its end within the caller's transaction."""

import json
import sqlite3
from datetime import UTC, datetime

from almoner.errors import LedgerError, ProtocolError
from almoner.privacy.heads import SignedHead
from almoner.privacy.ledger_entries import FIRST_PREVIOUS, KIND_OF, Created, Entry
from almoner.schema.base import Model, canonical_json


def read_entries(connection: sqlite3.Connection, limit: int | None) -> tuple[Entry, ...]:
    """Return the last `limit` entries, or all, oldest first."""
    rows = connection.execute("SELECT * FROM entries ORDER BY seq DESC LIMIT ?", (-1 if limit is None else limit,))
    return tuple(Entry(*row) for row in rows)[::-1]


def read_site(connection: sqlite3.Connection) -> str:
    """Return the site that the first entry names."""
    (payload,) = connection.execute("SELECT payload FROM entries WHERE seq = 1").fetchone()
    return Created.model_validate_json(payload).site


def hash_at(connection: sqlite3.Connection, seq: int) -> str | None:
    """Return the hash of an entry, or None if there is none of that number."""
    row = connection.execute("SELECT hash FROM entries WHERE seq = ?", (seq,)).fetchone()
    return None if row is None else str(row[0])


def read_held_heads(connection: sqlite3.Connection) -> dict[str, SignedHead]:
    """Return the heads of other sites' ledgers in the newest entry of kind "heads".

    Raises:
        LedgerError: when the entry is not of heads.
    """
    row = connection.execute("SELECT payload FROM entries WHERE kind = 'heads' ORDER BY seq DESC LIMIT 1").fetchone()
    try:
        return (
            {}
            if row is None
            else {str(site): SignedHead.from_json(head) for site, head in json.loads(row[0])["heads"].items()}
        )
    except (ProtocolError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise LedgerError("the entry of held heads is malformed → restore the ledger from its backup") from None


def append(connection: sqlite3.Connection, kind: str, payload: str) -> Entry:
    """Add an entry to the chain, inside the caller's transaction.

    Raises:
        LedgerError: when the last entry does not carry its own hash: nothing is built on a broken chain.
    """
    last = next(iter(read_entries(connection, 1)), None)
    if last is not None and last.hash != last.expected_hash():
        raise LedgerError(
            f"entry {last.seq} ({last.kind}) is damaged → run `almoner ledger verify`, restore the backup"
        )
    seq, previous = (1, FIRST_PREVIOUS) if last is None else (last.seq + 1, last.hash)
    time = datetime.now(UTC).isoformat(timespec="microseconds")
    draft = Entry(seq, time, kind, payload, previous, "")
    entry = Entry(seq, time, kind, payload, previous, draft.expected_hash())
    connection.execute(
        "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", (seq, time, kind, payload, previous, entry.hash)
    )
    return entry


def append_model(connection: sqlite3.Connection, payload: Model) -> Entry:
    """Add an entry of the kind that belongs to a payload model."""
    return append(connection, KIND_OF[type(payload)], canonical_json(payload).decode())
