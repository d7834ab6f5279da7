"""The state that follows from the ledger's entries, as SQL within the caller's transaction.

The tables `accounts`, `jobs` and `steps` are a cache of what the entries say, kept so that no call has
to read the whole chain. `ledger_verify` computes them again from the entries alone.
"""

import math
from dataclasses import dataclass
from typing import Literal

from apsw import Connection
from pydantic import TypeAdapter

from almoner.privacy.budget import RenyiFilter
from almoner.privacy.events import group_events
from almoner.privacy.ledger_entries import Reserved
from almoner.privacy.plan import PlannedStep
from almoner.schema.base import Model, NeighboringRelation, canonical_json
from almoner.schema.policy import Account
from almoner.schema.receipt import PrivacyEvent

_EVENTS: TypeAdapter[tuple[PrivacyEvent, ...]] = TypeAdapter(tuple[PrivacyEvent, ...])
JobStatus = Literal["reserved", "started", "abandoned", "settled"]


@dataclass(frozen=True)
class AccountState:
    """A privacy account as it stands.

    Args:
        population: whose data; the account's key at this site.
        privacy_unit: what one neighbour is.
        neighboring_relation: the relation that every figure here is for.
        filter: cap, δ, order and budget, fixed for life.
        rdp_spent: reserved and committed charges, in RDP at the filter's order.
        rdp_committed: charges of steps that may have touched data.
    """

    population: str
    privacy_unit: str
    neighboring_relation: NeighboringRelation
    filter: RenyiFilter
    rdp_spent: float
    rdp_committed: float

    @property
    def rdp_left(self) -> float:
        """What a further charge may be, in RDP at the filter's order."""
        return self.filter.budget - self.rdp_spent

    @property
    def epsilon_spent(self) -> float:
        """The account's ε for all reserved and committed charges together, at its δ; 0 when there are none."""
        return self.filter.epsilon_of(self.rdp_spent)

    @property
    def epsilon_committed(self) -> float:
        """The account's ε for committed charges alone, at its δ."""
        return self.filter.epsilon_of(self.rdp_committed)

    @property
    def epsilon_left(self) -> float:
        """The cap minus `epsilon_spent`. Not a target ε: for that see `plan.largest_target_epsilon`."""
        return self.filter.epsilon_cap - self.epsilon_spent

    def is_of(self, account: Account) -> bool:
        """Say whether this is the account that a policy declares, in every parameter."""
        return account == Account(
            population=self.population,
            privacy_unit=self.privacy_unit,
            neighboring_relation=self.neighboring_relation,
            epsilon_cap=self.filter.epsilon_cap,
            delta=self.filter.delta,
        )


@dataclass(frozen=True)
class JobState:
    """A job that holds or held a reservation."""

    job_id: str
    population: str
    envelope_digest: str
    tree_digest: str
    status: JobStatus


@dataclass(frozen=True)
class StepState:
    """One step of a reservation.

    Args:
        position: its place in the planned order, from 0.
        released: digest of what left for it, None before anything did.
    """

    position: int
    events: tuple[PrivacyEvent, ...]
    charge: float
    committed: bool
    released: str | None


def _account(row: tuple[str, str, NeighboringRelation, float, float, int, float, float]) -> AccountState:
    """Build an account from its row; the budget is computed, never stored."""
    population, unit, relation, cap, delta, order, spent, committed = row
    return AccountState(population, unit, relation, RenyiFilter(cap, delta, order), spent, committed)


def read_accounts(connection: Connection) -> tuple[AccountState, ...]:
    """Return all accounts, by population."""
    return tuple(_account(row) for row in connection.execute("SELECT * FROM accounts ORDER BY population"))


def find_account(connection: Connection, population: str) -> AccountState | None:
    """Return one account, or None."""
    row = connection.execute("SELECT * FROM accounts WHERE population = ?", (population,)).fetchone()
    return None if row is None else _account(row)


def find_job(connection: Connection, job_id: str) -> JobState | None:
    """Return one job, or None."""
    query = "SELECT job_id, population, envelope_digest, tree_digest, status FROM jobs WHERE job_id = ?"
    row = connection.execute(query, (job_id,)).fetchone()
    return None if row is None else JobState(*row)


def read_open_jobs(connection: Connection) -> tuple[JobState, ...]:
    """Return the jobs that are not settled."""
    query = (
        "SELECT job_id, population, envelope_digest, tree_digest, status FROM jobs"
        " WHERE status IN ('reserved', 'started', 'abandoned') ORDER BY job_id"
    )
    return tuple(JobState(*row) for row in connection.execute(query))


def insert_account(connection: Connection, state: AccountState) -> None:
    """Add an account's row."""
    connection.execute(
        "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            state.population,
            state.privacy_unit,
            state.neighboring_relation,
            state.filter.epsilon_cap,
            state.filter.delta,
            state.filter.order,
            state.rdp_spent,
            state.rdp_committed,
        ),
    )


def step_rows(reserved: Reserved) -> list[tuple[str, int, str, str, float, int, None]]:
    """Return the rows of a reservation's steps, none of them committed."""
    return [
        (reserved.job_id, position, step.step, events_json(step.events), step.charge, 0, None)
        for position, step in enumerate(reserved.steps)
    ]


def events_json(events: tuple[Model, ...]) -> str:
    """Return events as canonical JSON text."""
    return canonical_json([event.model_dump(mode="json") for event in events]).decode()


def insert_job(connection: Connection, reserved: Reserved) -> None:
    """Add a reservation's rows and its charge to the account."""
    connection.execute(
        "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, 'reserved', -1)",
        (reserved.job_id, reserved.nonce, reserved.population, reserved.envelope_digest, reserved.tree_digest),
    )
    connection.executemany("INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?)", step_rows(reserved))
    connection.execute(
        "UPDATE accounts SET rdp_spent = rdp_spent + ? WHERE population = ?", (reserved.charge, reserved.population)
    )


def set_status(connection: Connection, job_id: str, status: JobStatus) -> None:
    """Change a job's status."""
    connection.execute("UPDATE jobs SET status = ? WHERE job_id = ?", (status, job_id))


def find_step(connection: Connection, job_id: str, step: str) -> StepState | None:
    """Return a step of a reservation, or None."""
    query = "SELECT position, events, charge, committed, released FROM steps WHERE job_id = ? AND step = ?"
    row = connection.execute(query, (job_id, step)).fetchone()
    return None if row is None else StepState(row[0], _EVENTS.validate_json(row[1]), row[2], bool(row[3]), row[4])


def read_plan(connection: Connection, job_id: str) -> tuple[PlannedStep, ...]:
    """Return all steps of a reservation, in order."""
    query = "SELECT step, events FROM steps WHERE job_id = ? ORDER BY position"
    rows = connection.execute(query, (job_id,))
    return tuple(PlannedStep(key, _EVENTS.validate_json(events)) for key, events in rows)


def read_events(connection: Connection, population: str, committed_only: bool) -> tuple[PrivacyEvent, ...]:
    """Return what an account is charged for, equal mechanisms merged."""
    query = (
        "SELECT events, count(*) FROM steps JOIN jobs USING (job_id) WHERE population = ?"
        " AND (committed = 1 OR (status <> 'settled' AND NOT ?)) GROUP BY events ORDER BY events"
    )
    return group_events(
        event.model_copy(update={"count": event.count * times})
        for events, times in connection.execute(query, (population, committed_only))
        for event in _EVENTS.validate_json(events)
    )


def last_position(connection: Connection, job_id: str) -> int:
    """Return the position of the step that a job committed last, -1 before the first."""
    return int(connection.execute("SELECT last_position FROM jobs WHERE job_id = ?", (job_id,)).get)


def commit_step(connection: Connection, job: JobState, step: StepState) -> None:
    """Mark a step as committed and add its charge to what the account committed."""
    where = (job.job_id, step.position)
    connection.execute("UPDATE steps SET committed = 1 WHERE job_id = ? AND position = ?", where)
    connection.execute("UPDATE jobs SET last_position = ? WHERE job_id = ?", (step.position, job.job_id))
    connection.execute(
        "UPDATE accounts SET rdp_committed = rdp_committed + ? WHERE population = ?", (step.charge, job.population)
    )


def release_step(connection: Connection, job_id: str, position: int, result_digest: str) -> None:
    """Set what left for a step."""
    where = (result_digest, job_id, position)
    connection.execute("UPDATE steps SET released = ? WHERE job_id = ? AND position = ?", where)


def uncommitted_charge(connection: Connection, job_id: str) -> float:
    """Return the charge of a job's steps that were never committed."""
    query = "SELECT charge FROM steps WHERE job_id = ? AND committed = 0"
    return math.fsum(charge for (charge,) in connection.execute(query, (job_id,)))


def settle_job(connection: Connection, job: JobState, refund: float) -> None:
    """Close a job and take its refund off what the account spent."""
    set_status(connection, job.job_id, "settled")
    connection.execute("UPDATE accounts SET rdp_spent = rdp_spent - ? WHERE population = ?", (refund, job.population))
