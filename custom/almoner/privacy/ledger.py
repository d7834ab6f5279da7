"""The privacy ledger of a site: one SQLite file, append-only, hash-chained, charged before data is touched.

A job's states and the only ways between them:

    (unknown)         --reserve-->   reserved
    reserved          --start-->     started
    reserved          --withdraw-->  settled      all of it is refunded: the job can start no more
    started           --commit-->    started      each step once, in the planned order, before it reads data
    started           --release-->   started      each committed step once, by the digest of what leaves
    reserved, started --settle-->    settled      steps never committed are refunded
    started           --abandon-->   abandoned    its process died: all of it stays charged
    started           --close_dead-> settled      its process died before the first step: no data was read, all refunded
    started           --close_dead-> abandoned    its process died after it
    abandoned         --reconcile--> settled      steps never committed are refunded, on a person's word

Everything else raises, but for repetitions, which write nothing: `settle` on a settled job returns 0.0, so
that every path on which a job can end may call it; `abandon` on an abandoned job, `close_dead` on a settled one
too; `release` of the same digest again, in any state, so that a result that was lost on its way can be sent once
more. `withdraw` leaves a job in any other state alone, and says so. Two kinds of
refusal: `PolicyViolation` (with `BudgetExceeded`) for what a submitter asked, `LedgerError` for an illegal
transition or a file that is missing, damaged or locked.

The chain shows edits, not rollbacks. It cannot show by itself that the file was replaced by an older
valid copy, that its tail was cut off together with the state, or that it was rewritten from some entry on
with all hashes and the state computed anew. The heads that other sites hold show all three, at the start of
each job, which runs `verify` too (`flare/evidence/head_exchange`). Between two runs the state tables are
trusted.
"""

from pathlib import Path
from typing import Any, Self

from almoner.privacy import ledger_heads
from almoner.privacy import ledger_transitions as transitions
from almoner.privacy.heads import SignedHead
from almoner.privacy.ledger_chain import append, append_model
from almoner.privacy.ledger_entries import Created, Entry, recorded, validated
from almoner.privacy.ledger_file import creation
from almoner.privacy.ledger_migration import migrate
from almoner.privacy.ledger_reading import LedgerReader
from almoner.privacy.ledger_schema import LEDGER_VERSION
from almoner.privacy.ledger_tables import AccountState, JobState, JobStatus
from almoner.privacy.ledger_transitions import Reservation
from almoner.privacy.ledger_verify import VerifyReport
from almoner.schema.base import Model
from almoner.schema.policy import Account
from almoner.schema.receipt import PrivacyReceipt

__all__ = ["AccountState", "Entry", "JobState", "Ledger", "Reservation", "VerifyReport"]

BUSY_TIMEOUT_SECONDS = 10.0


class Ledger(LedgerReader):
    """The ledger of one site. Safe to use from several threads and processes at once.

    *Guarantee*: what a method writes is durable when it returns, and happened wholly or not at all. A method
    that raises has written nothing, unless the disk failed: then wholly or not at all. No account's reserved
    and committed charges ever exceed its budget, so all that was committed is (epsilon_cap, delta)-DP for one
    unit under add-or-remove-one.
    """

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
        """Open a ledger that exists; a missing one is never made anew, one of an older version is migrated.

        Args:
            path: the file.
            busy_timeout_seconds: how long a call waits for other writers.

        Raises:
            LedgerError: when the file is missing, locked, read-only, readable by others, of a newer
                version, not a ledger, or of an older version and damaged.
        """
        ledger = cls(path, busy_timeout_seconds)
        migrate(ledger._path, busy_timeout_seconds)
        with ledger._transaction(write=False):
            return ledger

    def open_account(self, account: Account) -> AccountState:
        """Open an account, or return it when it is open with the same parameters.

        The order of its filter is chosen now and kept for life.

        Raises:
            LedgerError: when the population has an account with other parameters.
            PolicyViolation: when the parameters leave no budget.
        """
        with self._transaction(write=True) as connection:
            return transitions.open_account(connection, account)

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

    def release(self, job_id: str, step_key: str, result_digest: str) -> None:
        """Write down what leaves for a committed step. Call it before the result leaves.

        *Guarantee*: on return the ledger holds, durably, that this digest is what the step released. Sending
        the same again writes nothing; anything else under the same step is refused. (A step is committed
        once in a job's life, so job and step are the whole key: another attempt is another job.)

        Args:
            job_id: a started job; for a digest that was released before, any job.
            step_key: a committed step of it.
            result_digest: of the result, 64 hexadecimal digits; keyed where nobody else may know the result.

        Raises:
            LedgerError: when the step was not committed, released another result, or its job is over.
        """
        with self._transaction(write=True) as connection:
            transitions.release(connection, job_id, step_key, result_digest)

    def settle(self, job_id: str, reason: str) -> float:
        """Close a job for good and give back what it never committed.

        Args:
            job_id: a job that is reserved or started; for a settled one nothing happens.
            reason: one line of prose that does not depend on data.

        Returns:
            The refund in RDP at the account's order; 0.0 when the job was settled before.

        Raises:
            LedgerError: when the job has no reservation, or is abandoned.
        """
        with self._transaction(write=True) as connection:
            return transitions.settle(connection, job_id, reason)

    def withdraw(self, job_id: str, reason: str) -> bool:
        """Settle a job if it is still reserved, all of it refunded; leave it alone if not.

        *Guarantee*: state and settlement are one transaction, so a job that starts at this moment either is left
        alone or cannot start.

        Returns:
            Whether the job was reserved, and is settled now.

        Raises:
            LedgerError: when the job has no reservation, or the reason is not one plain line.
        """
        with self._transaction(write=True) as connection:
            return transitions.withdraw(connection, job_id, reason)

    def abandon(self, job_id: str, reason: str) -> None:
        """Mark a started job as dead: its process ended in a way that nobody but the site may have caused.

        *Guarantee*: on return the job can commit and release nothing more, and all of it stays charged.

        Raises:
            LedgerError: when the job is not started (an abandoned one is left as it is), or the reason is
                not one plain line.
        """
        with self._transaction(write=True) as connection:
            transitions.abandon(connection, job_id, reason)

    def close_dead(self, job_id: str, reason: str) -> JobStatus:
        """Close a started job whose process died: settle it if it committed nothing, else abandon it.

        Data is read after the first commit only, so before it nothing about the data can have killed the process,
        and a refund tells nothing.

        *Guarantee*: on return the job can commit and release nothing more.

        Returns:
            "settled" or "abandoned"; for a job that is one of them nothing happens.

        Raises:
            LedgerError: when the job has no reservation or never started, or the reason is not one plain line.
        """
        with self._transaction(write=True) as connection:
            return transitions.close_dead(connection, job_id, reason)

    def reconcile(self, job_id: str, reason: str) -> float:
        """Settle an abandoned job: give back the steps that the ledger shows were never committed.

        A step that was not committed did not touch data. But when a process dies can depend on data, so a
        refund needs a person who gives a reason that is public and would hold for any data.

        Args:
            job_id: an abandoned job.
            reason: one line of prose that does not depend on data.

        Returns:
            The refund in RDP at the account's order.

        Raises:
            LedgerError: when the job is not abandoned.
        """
        with self._transaction(write=True) as connection:
            return transitions.reconcile(connection, job_id, reason)

    def record(self, kind: str, payload: Model | dict[str, Any]) -> Entry:
        """Write a fact that changes no account, such as a decision.

        Raises:
            LedgerError: when the kind is not one of `RECORD_KINDS`, or the payload is not a small JSON mapping.
        """
        text = recorded(kind, payload)
        with self._transaction(write=True) as connection:
            return append(connection, kind, text)

    def hold_heads(self, job_id: str, heads: dict[str, SignedHead], stale: frozenset[str] = frozenset()) -> None:
        """Keep heads of other sites' ledgers, whose signatures the caller has checked.

        *Guarantee*: on return the newest head of each site, of these and those held before, is durable.

        Args:
            job_id: the job in which they were shown.
            heads: by site.
            stale: sites whose head held before no longer counts, since their certificate is another one now.
        """
        with self._transaction(write=True) as connection:
            ledger_heads.hold(connection, job_id, heads, stale)
