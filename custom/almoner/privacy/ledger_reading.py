"""What can be asked of a ledger; nothing here changes one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from apsw import Connection

from almoner.errors import LedgerError
from almoner.privacy import ledger_heads
from almoner.privacy import ledger_transitions as transitions
from almoner.privacy.heads import SignedHead
from almoner.privacy.ledger_chain import read_entries, read_site, time_of_reservation
from almoner.privacy.ledger_entries import Entry
from almoner.privacy.ledger_file import copy_file, transaction
from almoner.privacy.ledger_tables import (
    AccountState,
    JobState,
    find_step,
    read_accounts,
    read_events,
    read_open_jobs,
    read_plan,
)
from almoner.privacy.ledger_verify import VerifyReport, verify_chain
from almoner.privacy.plan import PlannedStep
from almoner.schema.receipt import PrivacyEvent


class LedgerReader:
    """The reading half of a ledger. Safe to use from several threads and processes at once."""

    def __init__(self, path: Path, busy_timeout_seconds: float) -> None:
        self._path = path.absolute()
        self._busy_timeout_seconds = busy_timeout_seconds
        self._closed = False

    def close(self) -> None:
        """End the use of this object; every later call raises."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self, write: bool) -> Iterator[Connection]:
        """Run a block in one transaction."""
        if self._closed:
            raise LedgerError(f"{self._path}: the ledger was closed → open it again")
        with transaction(self._path, self._busy_timeout_seconds, write) as connection:
            yield connection

    @property
    def path(self) -> Path:
        """The file, as an absolute path."""
        return self._path

    @property
    def site(self) -> str:
        """The site whose ledger this is."""
        with self._transaction(write=False) as connection:
            return read_site(connection)

    def account(self, population: str) -> AccountState:
        """Return an account as it stands.

        Raises:
            LedgerError: when the population has no account.
        """
        with self._transaction(write=False) as connection:
            return transitions.known_account(connection, population)

    def accounts(self) -> tuple[AccountState, ...]:
        """Return all accounts, by population."""
        with self._transaction(write=False) as connection:
            return read_accounts(connection)

    def events(self, population: str, committed_only: bool = False) -> tuple[PrivacyEvent, ...]:
        """Return what an account is charged for, equal mechanisms merged: all that is reserved or committed.

        Args:
            population: the account.
            committed_only: leave out what is reserved and has not been committed.

        Raises:
            LedgerError: when the population has no account.
        """
        with self._transaction(write=False) as connection:
            transitions.known_account(connection, population)
            return read_events(connection, population, committed_only)

    def seen_nonce(self, nonce: str) -> bool:
        """Say whether a reservation with this nonce was ever made."""
        with self._transaction(write=False) as connection:
            return connection.execute("SELECT 1 FROM jobs WHERE nonce = ?", (nonce,)).fetchone() is not None

    def job(self, job_id: str) -> JobState:
        """Return a job as it stands.

        Raises:
            LedgerError: when the job has no reservation.
        """
        with self._transaction(write=False) as connection:
            return transitions.known_job(connection, job_id)

    def reserved_unix_seconds(self, job_id: str) -> float:
        """Return when a job was reserved, as the site's clock said.

        Raises:
            LedgerError: when the job has no reservation.
        """
        with self._transaction(write=False) as connection:
            transitions.known_job(connection, job_id)
            return datetime.fromisoformat(time_of_reservation(connection, job_id)).timestamp()

    def reserved_steps(self, job_id: str) -> tuple[PlannedStep, ...]:
        """Return the steps that were set aside for a job, in order, with the events that each may realise.

        Raises:
            LedgerError: when the job has no reservation.
        """
        with self._transaction(write=False) as connection:
            transitions.known_job(connection, job_id)
            return read_plan(connection, job_id)

    def open_jobs(self) -> tuple[JobState, ...]:
        """Return the jobs that are reserved, started or abandoned: all that are not settled."""
        with self._transaction(write=False) as connection:
            return read_open_jobs(connection)

    def committed(self, job_id: str, step_key: str) -> bool:
        """Say whether a step was committed; False for steps and jobs that the ledger does not know."""
        with self._transaction(write=False) as connection:
            step = find_step(connection, job_id, step_key)
            return step is not None and step.committed

    def entries(self, limit: int | None = None) -> tuple[Entry, ...]:
        """Return the last `limit` entries, or all, oldest first."""
        with self._transaction(write=False) as connection:
            return read_entries(connection, limit)

    def head(self) -> tuple[int, str]:
        """Return the sequence number and hash of the last entry."""
        last = self.entries(limit=1)[0]
        return last.seq, last.hash

    def hash_at(self, seq: int) -> str | None:
        """Return the hash of one entry, or None if the ledger has none of that number."""
        with self._transaction(write=False) as connection:
            return ledger_heads.hash_at(connection, seq)

    def held_heads(self) -> dict[str, SignedHead]:
        """Return the newest head that this site holds of each other site's ledger."""
        with self._transaction(write=False) as connection:
            return ledger_heads.read_held(connection)

    def verify(self) -> VerifyReport:
        """Check the whole ledger from its entries; see `verify_chain` for what holds on return.

        Raises:
            LedgerError: naming the first bad entry, or what does not follow from the entries.
        """
        with self._transaction(write=False) as connection:
            return verify_chain(connection, self._path)

    def backup(self, target: Path) -> VerifyReport:
        """Copy the ledger, as it stands at one moment, to a new file; others may write meanwhile.

        *Guarantee*: the copy is durable, mode 600, and verifies; an existing file is never overwritten.

        Returns:
            What `verify` found in the copy.

        Raises:
            LedgerError: when the target exists or cannot be written, or the ledger does not verify.
        """
        with self._transaction(write=False) as source, copy_file(source, target.absolute()) as copy:
            return verify_chain(copy, self._path)  # what is wrong with the copy is wrong with the ledger
