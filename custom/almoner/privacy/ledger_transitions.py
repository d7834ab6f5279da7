"""The rules of the ledger: what may follow what, each within the caller's writing transaction.

The states of a job and the only ways between them are listed in `ledger`. A rule that is broken raises
before anything is written.
"""

from dataclasses import dataclass

from apsw import Connection

from almoner.errors import BudgetExceeded, LedgerError, PolicyViolation
from almoner.privacy import ledger_tables as tables
from almoner.privacy.budget import charge_of, open_filter
from almoner.privacy.ledger_chain import append_model, read_site
from almoner.privacy.ledger_entries import (
    Abandoned,
    AccountOpened,
    Committed,
    Reconciled,
    Released,
    Reserved,
    Settled,
    Started,
    validated,
)
from almoner.privacy.ledger_tables import AccountState, JobState, JobStatus
from almoner.privacy.plan import PlannedStep
from almoner.schema.base import NeighboringRelation
from almoner.schema.policy import Account
from almoner.schema.receipt import PrivacyReceipt


@dataclass(frozen=True)
class Reservation:
    """What an admitted job asks the ledger to set aside.

    Args:
        job_id: FLARE's UUID of the job.
        nonce: the envelope's; accepted once in the ledger's life.
        envelope_digest: SHA-256 of the submitted envelope.
        tree_digest: SHA-256 over the rendered job folder; `start` must name the same.
        population: the account to charge.
        privacy_unit: the job's unit; must be the account's.
        neighboring_relation: the job's relation; must be the account's.
        steps: all that the job can do, in order.
    """

    job_id: str
    nonce: str
    envelope_digest: str
    tree_digest: str
    population: str
    privacy_unit: str
    neighboring_relation: NeighboringRelation
    steps: tuple[PlannedStep, ...]


def known_job(connection: Connection, job_id: str) -> JobState:
    """Return a job that the ledger has seen; raises LedgerError for others."""
    job = tables.find_job(connection, job_id)
    if job is None:
        raise LedgerError(f"job {job_id} has no reservation → it was never admitted here")
    return job


def known_account(connection: Connection, population: str) -> AccountState:
    """Return an account that was opened; raises LedgerError for others."""
    account = tables.find_account(connection, population)
    if account is None:
        raise LedgerError(f"population {population} has no account → open it from the site's policy")
    return account


def open_account(connection: Connection, account: Account) -> AccountState:
    """Open an account, or return it when it is open with the same parameters; see `Ledger.open_account`."""
    found = tables.find_account(connection, account.population)
    if found is None:
        renyi = open_filter(account.epsilon_cap, account.delta)
        state = AccountState(account.population, account.privacy_unit, account.neighboring_relation, renyi, 0.0, 0.0)
        append_model(connection, AccountOpened(account=account, order=renyi.order))
        tables.insert_account(connection, state)
        return state
    if not found.is_of(account):
        raise LedgerError(
            f"account {account.population} was opened with ε={found.filter.epsilon_cap:g}, δ={found.filter.delta:g},"
            f" {found.privacy_unit}, {found.neighboring_relation} → accounts are for life: restore the policy"
        )
    return found


def _check_reservable(connection: Connection, reservation: Reservation, account: AccountState) -> None:
    """Refuse replays, and jobs about another unit or relation than the account's."""
    query = "SELECT 'nonce' FROM jobs WHERE nonce = ? UNION ALL SELECT 'job id' FROM jobs WHERE job_id = ?"
    seen = connection.execute(query, (reservation.nonce, reservation.job_id)).fetchone()
    if seen is not None:
        raise PolicyViolation(f"job {reservation.job_id}: its {seen[0]} was used before → submit a newly made envelope")
    asked = (reservation.privacy_unit, reservation.neighboring_relation)
    if asked != (account.privacy_unit, account.neighboring_relation):
        raise PolicyViolation(
            f"job {reservation.job_id}: asks {asked[0]}, {asked[1]}, but account {account.population} protects"
            f" {account.privacy_unit}, {account.neighboring_relation} → set privacy.unit and its relation"
        )


def _check_budget(reservation: Reservation, account: AccountState, charge: float) -> None:
    """Refuse a charge that does not fit beside what is spent."""
    if not account.filter.fits(account.rdp_spent, charge):
        raise BudgetExceeded(
            f"job {reservation.job_id}: charge {charge:.4f} does not fit account {account.population}"
            f" ({account.privacy_unit}, {account.neighboring_relation}, δ={account.filter.delta:g}):"
            f" ε={account.epsilon_spent:.2f} of {account.filter.epsilon_cap:.2f} is spent, {account.rdp_left:.4f} is"
            f" left in RDP at order {account.filter.order} → lower target_epsilon or rounds"
        )


def reserve(connection: Connection, reservation: Reservation) -> None:
    """Set the worst case of a job aside; see `Ledger.reserve`."""
    account = known_account(connection, reservation.population)
    _check_reservable(connection, reservation, account)
    charges = [charge_of(step.events, account.filter.order) for step in reservation.steps]
    _check_budget(reservation, account, sum(charges))
    steps = tuple(
        {"step": step.key, "events": step.events, "charge": charge}
        for step, charge in zip(reservation.steps, charges, strict=True)
    )
    payload = validated(Reserved, {**vars(reservation), "steps": steps})
    append_model(connection, payload)
    tables.insert_job(connection, payload)


def start(connection: Connection, job_id: str, tree_digest: str) -> None:
    """Mark a reserved job as started; see `Ledger.start`."""
    job = known_job(connection, job_id)
    if job.status != "reserved":
        raise LedgerError(f"job {job_id} is {job.status} → a job starts once; submit it again")
    if job.tree_digest != tree_digest:
        raise LedgerError(f"job {job_id}: its folder is not the one that was admitted → submit it again")
    append_model(connection, Started(job_id=job_id, tree_digest=tree_digest))
    tables.set_status(connection, job_id, "started")


def commit(connection: Connection, job_id: str, step_key: str) -> PrivacyReceipt:
    """Commit a step of a started job, in the planned order; see `Ledger.commit`."""
    job = known_job(connection, job_id)
    if job.status != "started":
        raise LedgerError(f"job {job_id} is {job.status} → only a started job may touch data")
    step = tables.find_step(connection, job_id, step_key)
    if step is None:
        raise LedgerError(f"job {job_id}: step {step_key} was not reserved → it may not run")
    if step.position <= tables.last_position(connection, job_id):
        finding = "committed already" if step.committed else "passed over by a later step"
        raise LedgerError(f"job {job_id}: step {step_key} was {finding} → it may not run")
    account = known_account(connection, job.population)
    receipt = PrivacyReceipt(
        site=read_site(connection),
        job_id=job_id,
        step=step_key,
        privacy_unit=account.privacy_unit,
        neighboring_relation=account.neighboring_relation,
        events=step.events,
    )
    append_model(connection, Committed(receipt=receipt, charge=step.charge))
    tables.commit_step(connection, job, step)
    return receipt


def release(connection: Connection, job_id: str, step_key: str, result_digest: str) -> None:
    """Write down what leaves for a committed step, once; see `Ledger.release`."""
    job, step = known_job(connection, job_id), tables.find_step(connection, job_id, step_key)
    if step is None or not step.committed:
        raise LedgerError(f"job {job_id}: step {step_key} was not committed → nothing of it may leave")
    if step.released == result_digest:
        return
    if step.released is not None:
        raise LedgerError(f"job {job_id}: step {step_key} released another result before → send that one again")
    if job.status != "started":
        raise LedgerError(f"job {job_id} is {job.status} → nothing more of it may leave")
    append_model(connection, validated(Released, {"job_id": job_id, "step": step_key, "digest": result_digest}))
    tables.release_step(connection, job_id, step.position, result_digest)


def settle(connection: Connection, job_id: str, reason: str) -> float:
    """Close a job and give back what it never committed; see `Ledger.settle`."""
    job = known_job(connection, job_id)
    if job.status == "settled":
        return 0.0
    if job.status == "abandoned":
        raise LedgerError(f"job {job_id} is abandoned → it stays charged until `almoner ledger reconcile`")
    refund = tables.uncommitted_charge(connection, job_id)
    append_model(connection, validated(Settled, {"job_id": job_id, "reason": reason, "refund": refund}))
    tables.settle_job(connection, job, refund)
    return refund


def withdraw(connection: Connection, job_id: str, reason: str) -> bool:
    """Settle a job that is still reserved; see `Ledger.withdraw`."""
    reserved = known_job(connection, job_id).status == "reserved"
    if reserved:
        settle(connection, job_id, reason)
    return reserved


def abandon(connection: Connection, job_id: str, reason: str) -> None:
    """Mark a started job as dead, all of it charged; see `Ledger.abandon`."""
    job = known_job(connection, job_id)
    if job.status == "abandoned":
        return
    if job.status != "started":
        raise LedgerError(f"job {job_id} is {job.status} → only a started job can be abandoned")
    append_model(connection, validated(Abandoned, {"job_id": job_id, "reason": reason}))
    tables.set_status(connection, job_id, "abandoned")


def close_dead(connection: Connection, job_id: str, reason: str) -> JobStatus:
    """Settle a dead job that committed nothing, abandon another; see `Ledger.close_dead`."""
    job = known_job(connection, job_id)
    if job.status == "settled":
        return "settled"
    if job.status == "started" and tables.last_position(connection, job_id) < 0:
        settle(connection, job_id, reason)
        return "settled"
    abandon(connection, job_id, reason)
    return "abandoned"


def reconcile(connection: Connection, job_id: str, reason: str) -> float:
    """Settle an abandoned job by what the ledger shows as committed; see `Ledger.reconcile`."""
    job = known_job(connection, job_id)
    if job.status != "abandoned":
        raise LedgerError(f"job {job_id} is {job.status} → only an abandoned job is reconciled")
    refund = tables.uncommitted_charge(connection, job_id)
    append_model(connection, validated(Reconciled, {"job_id": job_id, "reason": reason, "refund": refund}))
    tables.settle_job(connection, job, refund)
    return refund
