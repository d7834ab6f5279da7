"""The privacy ledger of a site: one SQLite file, append-only, hash-chained, charged before data is touched.

A job's states and the only ways between them:

    (unknown) --reserve--> reserved --start--> started --commit*--> started
    reserved, started --settle--> settled

Everything else raises. `settle` on a settled job writes nothing and returns 0.0, so that every path on
which a job can end may call it. Two kinds of refusal: `PolicyViolation` (with `BudgetExceeded`) for what
a submitter asked, `LedgerError` for an illegal transition or a file that is missing, damaged or locked.

The chain shows edits, not rollbacks. It cannot show by itself that the file was replaced by an older
valid copy, that its tail was cut off together with the state, or that it was rewritten from some entry on
with all hashes and the state computed anew. Heads cosigned by other sites will show all three; until
then, keep a copy of `head()` elsewhere. Between two runs of `verify` the state tables are trusted:
whoever can write the file can change them, and `verify` is what finds it. Nothing here runs it by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from apsw import Connection

from almoner.errors import LedgerError
from almoner.privacy import ledger_transitions as transitions
from almoner.privacy.ledger_chain import append, append_model, read_entries, read_site
from almoner.privacy.ledger_entries import Created, Entry, recorded, validated
from almoner.privacy.ledger_file import creation, transaction
from almoner.privacy.ledger_schema import LEDGER_VERSION
from almoner.privacy.ledger_tables import AccountState, JobState, find_step, read_accounts, read_open_jobs, read_plan
from almoner.privacy.ledger_transitions import Reservation
from almoner.privacy.ledger_verify import VerifyReport, verify_chain
from almoner.privacy.plan import PlannedStep
from almoner.schema.base import Model
from almoner.schema.policy import Account
from almoner.schema.receipt import PrivacyReceipt

__all__ = ["AccountState", "Entry", "JobState", "Ledger", "Reservation", "VerifyReport"]

BUSY_TIMEOUT_SECONDS = 10.0


class Ledger:
    """The ledger of one site. Safe to use from several threads and processes at once.

    *Guarantee*: what a method writes is durable when it returns, and happened wholly or not at all. A method
    that raises has written nothing, unless the disk failed: then wholly or not at all. No account's reserved
    and committed charges ever exceed its budget, so all that was committed is (epsilon_cap, delta)-DP for one
    unit under add-or-remove-one.
    """

    def __init__(self, path: Path, busy_timeout_seconds: float) -> None:
        self._path = path.absolute()
        self._busy_timeout_seconds = busy_timeout_seconds
        self._closed = False

    @classmethod
    def create(cls, path: Path, site: str) -> Self:
        """Make the ledger of a site, with the site's name as its first entry.

        Raises:
            LedgerError: when the file exists, or cannot be written.
        """
        ledger = cls(path, BUSY_TIMEOUT_SECONDS)
        first = validated(Created, {"site": site, "ledger_version": LEDGER_VERSION})
        with creation(ledger._path) as connection:
            append_model(connection, first)
        return ledger

    @classmethod
    def open(cls, path: Path, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS) -> Self:
        """Open a ledger that exists; a missing one is never made anew.

        Args:
            path: the file.
            busy_timeout_seconds: how long a call waits for other writers.

        Raises:
            LedgerError: when the file is missing, locked, read-only, readable by others, of a newer
                version, or not a ledger.
        """
        ledger = cls(path, busy_timeout_seconds)
        with ledger._transaction(write=False):
            return ledger

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

    def open_account(self, account: Account) -> AccountState:
        """Open an account, or return it when it is open with the same parameters.

        The order of its filter is chosen now and kept for life.

        Raises:
            LedgerError: when the population has an account with other parameters.
            PolicyViolation: when the parameters leave no budget.
        """
        with self._transaction(write=True) as connection:
            return transitions.open_account(connection, account)

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

    def reserve(self, reservation: Reservation) -> None:
        """Set the worst case of a job aside, in one transaction.

        *Guarantee*: on return the job's nonce and id are used up and its charge counts as spent. On a
        refusal nothing is written and the nonce stays unused.

        Raises:
            PolicyViolation: when the nonce or job id was seen before, or unit or relation differ.
            BudgetExceeded: when the charge does not fit.
            LedgerError: when the population has no account, or a value is malformed.
        """
        with self._transaction(write=True) as connection:
            transitions.reserve(connection, reservation)

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

    def reserved_steps(self, job_id: str) -> tuple[PlannedStep, ...]:
        """Return the steps that were set aside for a job, in order, with the events that each may realise.

        Raises:
            LedgerError: when the job has no reservation.
        """
        with self._transaction(write=False) as connection:
            transitions.known_job(connection, job_id)
            return read_plan(connection, job_id)

    def open_jobs(self) -> tuple[JobState, ...]:
        """Return the jobs that are reserved or started, not settled."""
        with self._transaction(write=False) as connection:
            return read_open_jobs(connection)

    def start(self, job_id: str, tree_digest: str) -> None:
        """Mark a reserved job as started; succeeds exactly once for a job.

        Raises:
            LedgerError: when the job is not reserved, was started or settled, or is another folder.
        """
        with self._transaction(write=True) as connection:
            transitions.start(connection, job_id, tree_digest)

    def commit(self, job_id: str, step_key: str) -> PrivacyReceipt:
        """Commit a step. Call it before the step touches data, never after.

        *Guarantee*: on return the step's charge is durable and will never be refunded. Steps are committed
        in the planned order, each once; steps that were passed over can no longer be.

        Returns:
            The receipt of the step: all that it may release.

        Raises:
            LedgerError: when the job is not started, or the step is unknown, committed, or passed over.
        """
        with self._transaction(write=True) as connection:
            return transitions.commit(connection, job_id, step_key)

    def committed(self, job_id: str, step_key: str) -> bool:
        """Say whether a step was committed; False for steps and jobs that the ledger does not know."""
        with self._transaction(write=False) as connection:
            step = find_step(connection, job_id, step_key)
            return step is not None and step.committed

    def settle(self, job_id: str, reason: str) -> float:
        """Close a job for good and give back what it never committed.

        Args:
            job_id: a job that is reserved or started; for a settled one nothing happens.
            reason: one line of prose that does not depend on data.

        Returns:
            The refund in RDP at the account's order; 0.0 when the job was settled before.

        Raises:
            LedgerError: when the job has no reservation.
        """
        with self._transaction(write=True) as connection:
            return transitions.settle(connection, job_id, reason)

    def record(self, kind: str, payload: Model | dict[str, Any]) -> Entry:
        """Write a fact that changes no account, such as a decision.

        Raises:
            LedgerError: when the kind is not one of `RECORD_KINDS`, or the payload is not a small JSON mapping.
        """
        text = recorded(kind, payload)
        with self._transaction(write=True) as connection:
            return append(connection, kind, text)

    def entries(self, limit: int | None = None) -> tuple[Entry, ...]:
        """Return the last `limit` entries, or all, oldest first."""
        with self._transaction(write=False) as connection:
            return read_entries(connection, limit)

    def head(self) -> tuple[int, str]:
        """Return the sequence number and hash of the last entry."""
        last = self.entries(limit=1)[0]
        return last.seq, last.hash

    def verify(self) -> VerifyReport:
        """Check the whole ledger from its entries; see `verify_chain` for what holds on return.

        Raises:
            LedgerError: naming the first bad entry, or what does not follow from the entries.
        """
        with self._transaction(write=False) as connection:
            return verify_chain(connection, self._path)
