"""Checks a ledger from its entries alone: the chain, every transition, and the tables that cache them.

Replays each entry by the rules of `ledger`, independently of the code that wrote it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apsw import Connection

from almoner.errors import LedgerError, PolicyViolation
from almoner.privacy.budget import CHARGE_GRID, RenyiFilter, charge_of
from almoner.privacy.ledger_entries import (
    FIRST_PREVIOUS,
    AccountOpened,
    Committed,
    Created,
    Entry,
    Reserved,
    Settled,
    Started,
    parse_payload,
)
from almoner.privacy.ledger_tables import AccountState, read_accounts, step_rows
from almoner.schema.base import Model

CHARGE_TOLERANCE = 1e-9
"""How far, relative, a recorded charge may be from today's arithmetic: machines differ in last digits only."""


@dataclass(frozen=True)
class VerifyReport:
    """What was found in a ledger that holds together.

    Args:
        site: whose ledger it is.
        num_entries: entries checked.
        head: hash of the last entry.
        accounts: the accounts as the entries leave them.
        num_open_jobs: jobs reserved or started and not settled.
        num_clock_steps_back: entries whose time is before that of the entry before.
    """

    site: str
    num_entries: int
    head: str
    accounts: tuple[AccountState, ...]
    num_open_jobs: int
    num_clock_steps_back: int


@dataclass
class _Account:
    opened: AccountOpened
    filter: RenyiFilter
    spent: float = 0.0
    committed: float = 0.0


@dataclass
class _Job:
    reserved: Reserved
    status: str = "reserved"
    last_position: int = -1
    committed: set[int] = field(default_factory=set)
    position_of: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.position_of = {step.step: position for position, step in enumerate(self.reserved.steps)}


class _Replay:
    """The state of a ledger, rebuilt entry by entry."""

    def __init__(self) -> None:
        self.site = ""
        self.accounts: dict[str, _Account] = {}
        self.jobs: dict[str, _Job] = {}
        self.nonces: set[str] = set()

    def apply(self, payload: Model | dict[str, Any]) -> None:
        """Apply one entry's payload; recorded facts change nothing."""
        match payload:
            case Created():
                self._require(not self.site, "the ledger was created already")
                self.site = payload.site
            case _ if not self.site:
                raise LedgerError("the first entry does not create the ledger")
            case AccountOpened():
                self._open(payload)
            case Reserved():
                self._reserve(payload)
            case Started():
                self._start(payload)
            case Committed():
                self._commit(payload)
            case Settled():
                self._settle(payload)

    @staticmethod
    def _require(condition: bool, finding: str) -> None:
        if not condition:
            raise LedgerError(finding)

    def _job(self, job_id: str, *statuses: str) -> _Job:
        """Return a job that is in one of the given states."""
        job = self.jobs.get(job_id)
        if job is None or job.status not in statuses:
            raise LedgerError(f"job {job_id} is {'not reserved' if job is None else job.status}")
        return job

    def _open(self, opened: AccountOpened) -> None:
        account = opened.account
        self._require(account.population not in self.accounts, f"account {account.population} was opened already")
        try:
            renyi = RenyiFilter(account.epsilon_cap, account.delta, opened.order)
        except PolicyViolation as error:
            raise LedgerError(str(error)) from None
        self.accounts[account.population] = _Account(opened, renyi)

    def _reserve(self, reserved: Reserved) -> None:
        account = self.accounts.get(reserved.population)
        if account is None:
            raise LedgerError(f"account {reserved.population} was not opened")
        opened = account.opened.account
        self._require(reserved.job_id not in self.jobs, f"job {reserved.job_id} was reserved already")
        self._require(reserved.nonce not in self.nonces, "its nonce was used already")
        self._require(
            (reserved.privacy_unit, reserved.neighboring_relation)
            == (opened.privacy_unit, opened.neighboring_relation),
            "its unit or relation is not the account's",
        )
        for step in reserved.steps:
            honest = charge_of(step.events, account.filter.order)
            close = abs(step.charge - honest) <= CHARGE_TOLERANCE * step.charge + CHARGE_GRID
            self._require(close, f"the charge of step {step.step} does not follow from its events")
        self._require(
            account.filter.fits(account.spent, reserved.charge), f"account {reserved.population} is over its cap"
        )
        account.spent += reserved.charge
        self.nonces.add(reserved.nonce)
        self.jobs[reserved.job_id] = _Job(reserved)

    def _start(self, started: Started) -> None:
        job = self._job(started.job_id, "reserved")
        self._require(started.tree_digest == job.reserved.tree_digest, "its tree digest is not the reserved one")
        job.status = "started"

    def _commit(self, committed: Committed) -> None:
        receipt = committed.receipt
        job = self._job(receipt.job_id, "started")
        steps = job.reserved.steps
        position = job.position_of.get(receipt.step)
        if position is None:
            raise LedgerError(f"step {receipt.step} was not reserved")
        self._require(position > job.last_position, f"step {receipt.step} is out of order")
        same = (receipt.site, receipt.privacy_unit, receipt.neighboring_relation, receipt.events, committed.charge) == (
            self.site,
            job.reserved.privacy_unit,
            job.reserved.neighboring_relation,
            steps[position].events,
            steps[position].charge,
        )
        self._require(same, f"the receipt of step {receipt.step} is not what was reserved")
        job.last_position = position
        job.committed.add(position)
        self.accounts[job.reserved.population].committed += committed.charge

    def _settle(self, settled: Settled) -> None:
        job = self._job(settled.job_id, "reserved", "started")
        steps = enumerate(job.reserved.steps)
        refund = math.fsum(step.charge for position, step in steps if position not in job.committed)
        self._require(settled.refund == refund, "its refund is not the charge of the steps never committed")
        job.status = "settled"
        self.accounts[job.reserved.population].spent -= refund

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return the rows that the cache tables must hold, in the order of their keys."""
        accounts = [
            (
                population,
                account.opened.account.privacy_unit,
                account.opened.account.neighboring_relation,
                account.opened.account.epsilon_cap,
                account.opened.account.delta,
                account.opened.order,
                account.spent,
                account.committed,
            )
            for population, account in self.accounts.items()
        ]
        jobs = [
            (r.job_id, r.nonce, r.population, r.envelope_digest, r.tree_digest, job.status, job.last_position)
            for job in self.jobs.values()
            for r in (job.reserved,)
        ]
        steps = [
            (*row[:-1], int(row[1] in job.committed)) for job in self.jobs.values() for row in step_rows(job.reserved)
        ]
        return {"accounts": sorted(accounts), "jobs": sorted(jobs), "steps": sorted(steps)}


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
        if sorted(connection.execute(f"SELECT * FROM {table}").fetchall()) != rows:  # noqa: S608 - constant names
            raise LedgerError(f"table {table} does not follow from the entries")


def verify_chain(connection: Connection, path: Path) -> VerifyReport:
    """Check a whole ledger, inside the caller's transaction.

    *Guarantee*: on return every hash and link holds, every entry is a legal transition from those before
    it, no account was ever over its cap, recorded charges follow from their events, and the tables say
    what the entries say. A tail that was cut off, or rewritten with all hashes anew, cannot be seen here.

    Raises:
        LedgerError: naming the first bad entry, or the table that does not follow.
    """
    replay, previous, count, where = _Replay(), FIRST_PREVIOUS, 0, "file"
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
        _check_tables(connection, replay.tables())
    except LedgerError as error:
        raise LedgerError(f"{path}: {where}: {error} → restore the ledger from its backup") from None
    num_open = sum(job.status != "settled" for job in replay.jobs.values())
    return VerifyReport(replay.site, count, previous, read_accounts(connection), num_open, num_back)
