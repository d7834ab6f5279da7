"""Checks a ledger from its entries alone: the chain, every transition, and the tables that cache them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsw import Connection

from almoner.errors import LedgerError
from almoner.privacy.ledger_entries import FIRST_PREVIOUS, Entry, parse_payload
from almoner.privacy.ledger_replay import Replay
from almoner.privacy.ledger_schema import LEDGER_VERSION
from almoner.privacy.ledger_tables import AccountState, read_accounts


@dataclass(frozen=True)
class VerifyReport:
    """What was found in a ledger that holds together.

    Args:
        site: whose ledger it is.
        num_entries: entries checked.
        head: hash of the last entry.
        accounts: the accounts as the entries leave them.
        num_open_jobs: jobs that are not settled.
        num_clock_steps_back: entries whose time is before that of the entry before.
    """

    site: str
    num_entries: int
    head: str
    accounts: tuple[AccountState, ...]
    num_open_jobs: int
    num_clock_steps_back: int


def _read_entries(connection: Connection) -> Iterator[Entry]:
    """Yield the entries in order; bytes that are not text come out as escapes and then fail their hash."""
    columns = (
        "seq, CAST(time AS BLOB), CAST(kind AS BLOB), CAST(payload AS BLOB), CAST(previous AS BLOB), CAST(hash AS BLOB)"
    )
    for seq, *texts in connection.execute(f"SELECT {columns} FROM entries ORDER BY seq"):  # noqa: S608 - constant
        yield Entry(seq, *(text.decode(errors="backslashreplace") for text in texts))


def _check_links(entry: Entry, seq: int, previous: str) -> None:
    """Refuse an entry that is not the next of the chain."""
    if entry.seq != seq:
        raise LedgerError(f"entry {seq} is missing")
    if entry.previous != previous:
        raise LedgerError("it does not follow the entry before")
    if entry.hash != entry.expected_hash():
        raise LedgerError("its content does not match its hash")


def _check_file(connection: Connection) -> None:
    """Refuse a file whose pages, indexes or references are damaged."""
    rows = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if rows != [("ok",)] or connection.execute("PRAGMA foreign_key_check").fetchall():
        raise LedgerError("the file is damaged")


def _check_tables(connection: Connection, expected: dict[str, list[tuple[Any, ...]]]) -> None:
    """Refuse cache tables that do not follow from the entries."""
    for table, rows in expected.items():
        if connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() != rows:  # noqa: S608 - constant names
            raise LedgerError(f"table {table} does not follow from the entries")


def replay_chain(connection: Connection, path: Path, version: int) -> tuple[Replay, VerifyReport]:
    """Check a ledger of a version, inside the caller's transaction; return its state as rebuilt, and the report.

    Raises:
        LedgerError: naming the first bad entry, or the table that does not follow.
    """
    replay, previous, count, where = Replay(), FIRST_PREVIOUS, 0, "file"
    time, num_back = "", 0
    try:
        _check_file(connection)
        for count, entry in enumerate(_read_entries(connection), start=1):
            where = f"entry {count} ({entry.kind})"
            _check_links(entry, count, previous)
            replay.apply(parse_payload(entry))
            num_back += entry.time < time
            previous, time = entry.hash, entry.time
        where = "state"
        if count == 0:
            raise LedgerError("there are no entries")
        if replay.version != version:
            raise LedgerError(f"the file says version {version}, the entries {replay.version}")
        _check_tables(connection, replay.tables(version))
    except LedgerError as error:
        raise LedgerError(f"{path}: {where}: {error} → restore the ledger from its backup") from None
    num_open = sum(job.status != "settled" for job in replay.jobs.values())
    return replay, VerifyReport(replay.site, count, previous, read_accounts(connection), num_open, num_back)


def verify_chain(connection: Connection, path: Path) -> VerifyReport:
    """Check a whole ledger, inside the caller's transaction.

    *Guarantee*: on return every hash and link holds, every entry is a legal transition from those before
    it, no account was ever over its cap, recorded charges follow from their events, and the tables say
    what the entries say. A tail that was cut off, or rewritten with all hashes anew, cannot be seen here.

    Raises:
        LedgerError: naming the first bad entry, or the table that does not follow.
    """
    return replay_chain(connection, path, LEDGER_VERSION)[1]
