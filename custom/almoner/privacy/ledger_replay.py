"""Rebuilds a ledger's state from its entries, by the rules of `ledger`, independently of the code that wrote them."""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from almoner.errors import LedgerError, PolicyViolation
from almoner.privacy.budget import CHARGE_GRID, MAX_ORDER, RenyiFilter, charge_of
from almoner.privacy.ledger_entries import (
    Abandoned,
    AccountOpened,
    Committed,
    Created,
    Migrated,
    Reconciled,
    Released,
    Reserved,
    Settled,
    Started,
)
from almoner.privacy.ledger_tables import step_rows
from almoner.schema.base import Model
from almoner.schema.receipt import PrivacyEvent

CHARGE_TOLERANCE = 1e-9
"""How far, relative, a recorded charge may be from today's arithmetic: machines differ in last digits only."""


@lru_cache(maxsize=65536)
def _honest_charge(events: tuple[PrivacyEvent, ...], order: int) -> float:
    """Return what events are charged, computed once for equal ones."""
    return charge_of(events, order)


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
    released: dict[int, str] = field(default_factory=dict)
    position_of: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.position_of = {step.step: position for position, step in enumerate(self.reserved.steps)}


class Replay:
    """The state of a ledger, rebuilt entry by entry."""

    def __init__(self) -> None:
        self.site = ""
        self.version = 0
        self.accounts: dict[str, _Account] = {}
        self.jobs: dict[str, _Job] = {}
        self.nonces: set[str] = set()

    def apply(self, payload: Model | dict[str, Any]) -> None:
        """Apply one entry's payload; recorded facts change nothing."""
        match payload:
            case Created():
                self._require(not self.site, "the ledger was created already")
                self.site, self.version = payload.site, payload.ledger_version
            case _ if not self.site:
                raise LedgerError("the first entry does not create the ledger")
            case Migrated():
                self._require(payload.from_version == self.version, f"the ledger was of version {self.version}")
                self.version = payload.to_version
            case Released() | Abandoned() | Reconciled() if self.version < 2:
                raise LedgerError(f"version {self.version} has no such entries")
            case AccountOpened():
                self._open(payload)
            case Reserved():
                self._reserve(payload)
            case Started():
                self._start(payload)
            case Committed():
                self._commit(payload)
            case Released():
                self._release(payload)
            case Abandoned():
                self._job(payload.job_id, "started").status = "abandoned"
            case Settled():
                self._settle(payload, "reserved", "started")
            case Reconciled():
                self._settle(payload, "abandoned")

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
        self._require(opened.order <= MAX_ORDER, f"order {opened.order} is one that no account is opened at")
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
            honest = _honest_charge(step.events, account.filter.order)
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

    def _release(self, released: Released) -> None:
        job = self._job(released.job_id, "started")
        position = job.position_of.get(released.step)
        if position is None or position not in job.committed:
            raise LedgerError(f"step {released.step} was not committed")
        self._require(position not in job.released, f"step {released.step} released a result already")
        job.released[position] = released.digest

    def _settle(self, settled: Settled | Reconciled, *statuses: str) -> None:
        job = self._job(settled.job_id, *statuses)
        steps = enumerate(job.reserved.steps)
        refund = math.fsum(step.charge for position, step in steps if position not in job.committed)
        self._require(settled.refund == refund, "its refund is not the charge of the steps never committed")
        job.status = "settled"
        self.accounts[job.reserved.population].spent -= refund

    def tables(self, version: int) -> dict[str, list[tuple[Any, ...]]]:
        """Return the rows that the cache tables of a version must hold, in the order of their keys."""
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
        steps: list[tuple[Any, ...]] = [
            (*row[:-2], int(row[1] in job.committed), job.released.get(row[1]))
            for job in self.jobs.values()
            for row in step_rows(job.reserved)
        ]
        if version < 2:
            steps = [row[:-1] for row in steps]
        return {"accounts": sorted(accounts), "jobs": sorted(jobs), "steps": sorted(steps, key=lambda row: row[:2])}
