"""The chain of entries as SQL: reads it, and adds to its end within the caller's transaction.

An entry's place is its sequence number. Its time is what the site's clock said, written as it was read: a
clock that was turned back neither stops the ledger nor is covered up, and `verify` counts its steps back.
"""

from datetime import UTC, datetime

from apsw import Connection

from almoner.errors import LedgerError
from almoner.privacy.ledger_entries import FIRST_PREVIOUS, KIND_OF, Created, Entry
from almoner.schema.base import Model, canonical_json


def read_entries(connection: Connection, limit: int | None) -> tuple[Entry, ...]:
    """Return the last `limit` entries, or all, oldest first."""
    rows = connection.execute("SELECT * FROM entries ORDER BY seq DESC LIMIT ?", (-1 if limit is None else limit,))
    return tuple(Entry(*row) for row in rows)[::-1]


def read_site(connection: Connection) -> str:
    """Return the site that the first entry names."""
    payload = connection.execute("SELECT payload FROM entries WHERE seq = 1").get
    if payload is None:
        raise LedgerError("entry 1 is missing → run `almoner ledger verify`, restore the backup")
    return Created.model_validate_json(payload).site


def time_of_reservation(connection: Connection, job_id: str) -> str:
    """Return the time of a job's reservation.

    Raises:
        LedgerError: when the chain has none.
    """
    query = (
        "SELECT time FROM entries WHERE kind = 'reserved' AND json_extract(payload, '$.job_id') = ?"
        " ORDER BY seq DESC LIMIT 1"
    )
    time = connection.execute(query, (job_id,)).get
    if time is None:
        raise LedgerError(f"the reservation of job {job_id} is missing → run `almoner ledger verify`")
    return str(time)


def read_clock() -> datetime:
    """Return what the site's clock says, in UTC."""
    return datetime.now(UTC)


def append(connection: Connection, kind: str, payload: str) -> Entry:
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
    time = read_clock().isoformat(timespec="microseconds")
    draft = Entry(seq, time, kind, payload, previous, "")
    entry = Entry(seq, time, kind, payload, previous, draft.expected_hash())
    connection.execute(
        "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", (seq, time, kind, payload, previous, entry.hash)
    )
    return entry


def append_model(connection: Connection, payload: Model) -> Entry:
    """Add an entry of the kind that belongs to a payload model."""
    return append(connection, KIND_OF[type(payload)], canonical_json(payload).decode())
