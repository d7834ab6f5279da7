"""Any interleaving of calls, against a model that is a few dictionaries and exact fractions."""

import shutil
import tempfile
from fractions import Fraction
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from privacy_cases import POPULATION, TREE, account, gaussian, job_id, pure, reservation

from almoner.errors import BudgetExceeded, LedgerError, PolicyViolation
from almoner.privacy.budget import charge_of
from almoner.privacy.ledger import Ledger
from almoner.privacy.plan import PlannedStep

EVENTS = (gaussian(3.0, 0.5), gaussian(5.1, 0.9, 3), pure(0.3), pure(0.05), gaussian(1.3, 0.01, 7))
CHARGES = {event: charge_of((event,), 6) for event in EVENTS}
numbers = st.integers(0, 6)
MEMORY = Path("/dev/shm")  # syncs cost nothing there; power cuts are not what is tested here


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="almoner-ledger-", dir=MEMORY if MEMORY.is_dir() else None))
        self.ledger = Ledger.create(self.folder / "ledger.sqlite", "cleveland")
        self.budget = Fraction(self.ledger.open_account(account()).filter.budget)
        self.jobs: dict[int, list[Fraction]] = {}  # charges of the planned steps
        self.status: dict[int, str] = {}
        self.done: dict[int, list[int]] = {}
        self.released: dict[tuple[int, int], str] = {}
        self.num_entries = 2
        self.spent_before = Fraction(0)
        self.settled_now = False

    def _spent(self) -> Fraction:
        """Reserved and committed: whole jobs that are open, committed steps of those that are settled."""
        whole = sum((sum(self.jobs[n]) for n in self.jobs if self.status[n] != "settled"), Fraction(0))
        return whole + sum(
            (self.jobs[n][i] for n in self.jobs if self.status[n] == "settled" for i in self.done[n]), Fraction(0)
        )

    def _committed(self) -> Fraction:
        return sum((self.jobs[n][i] for n in self.jobs for i in self.done[n]), Fraction(0))

    @rule(number=numbers, nonce=st.none() | numbers, unit=st.sampled_from(["patient"] * 7 + ["record"]),
          events=st.lists(st.sampled_from(EVENTS), max_size=5))  # fmt: skip
    def reserve(self, number: int, nonce: int | None, unit: str, events: list) -> None:
        planned = tuple(PlannedStep(f"step-{i}", (event,)) for i, event in enumerate(events))
        charges = [Fraction(CHARGES[event]) for event in events]
        asked = reservation(number, planned, privacy_unit=unit, nonce=f"{number if nonce is None else nonce:032x}")
        seen = number in self.jobs or self.ledger.seen_nonce(asked.nonce)
        fits = self._spent() + sum(charges) <= self.budget
        if not seen and unit == "patient" and fits:
            self.ledger.reserve(asked)
            self.jobs[number], self.status[number], self.done[number] = charges, "reserved", []
            self.num_entries += 1
            return
        expected = BudgetExceeded if not seen and unit == "patient" else PolicyViolation
        with pytest.raises(expected):
            self.ledger.reserve(asked)

    @precondition(lambda self: self.jobs)
    @rule(number=numbers, tree=st.sampled_from([TREE] * 5 + ["c" * 64]))
    def start(self, number: int, tree: str) -> None:
        if self.status.get(number) == "reserved" and tree == TREE:
            self.ledger.start(job_id(number), tree)
            self.status[number] = "started"
            self.num_entries += 1
        else:
            with pytest.raises(LedgerError):
                self.ledger.start(job_id(number), tree)

    @precondition(lambda self: "started" in self.status.values())
    @rule(number=numbers, step=st.integers(0, 5))
    def commit(self, number: int, step: int) -> None:
        charges, done = self.jobs.get(number, []), self.done.get(number, [])
        if self.status.get(number) == "started" and step < len(charges) and step > max(done, default=-1):
            receipt = self.ledger.commit(job_id(number), f"step-{step}")
            assert Fraction(charge_of(receipt.events, 6)) == charges[step]
            done.append(step)
            self.num_entries += 1
        else:
            with pytest.raises(LedgerError):
                self.ledger.commit(job_id(number), f"step-{step}")
        assert self.ledger.committed(job_id(number), f"step-{step}") == (step in done)

    @precondition(lambda self: self.jobs)
    @rule(number=numbers)
    def settle(self, number: int) -> None:
        status = self.status.get(number)
        if status in (None, "abandoned"):
            with pytest.raises(LedgerError):
                self.ledger.settle(job_id(number), "x")
            return
        refund = Fraction(self.ledger.settle(job_id(number), "x"))
        open_charges = (c for i, c in enumerate(self.jobs[number]) if i not in self.done[number])
        assert refund == (0 if status == "settled" else sum(open_charges, Fraction(0)))
        self.num_entries += status != "settled"
        self.status[number] = "settled"
        self.settled_now = True

    @precondition(lambda self: any(self.done.values()))
    @rule(number=numbers, step=st.integers(0, 5), digest=st.sampled_from("ab"))
    def release(self, number: int, step: int, digest: str) -> None:
        before = self.released.get((number, step))
        new = before is None and step in self.done.get(number, []) and self.status[number] == "started"
        if new or before == digest:
            self.ledger.release(job_id(number), f"step-{step}", digest * 64)
            self.released[number, step] = digest
            self.num_entries += new
        else:
            with pytest.raises(LedgerError):
                self.ledger.release(job_id(number), f"step-{step}", digest * 64)

    @precondition(lambda self: "started" in self.status.values())
    @rule(number=numbers)
    def abandon(self, number: int) -> None:
        status = self.status.get(number)
        if status in ("started", "abandoned"):
            self.ledger.abandon(job_id(number), "x")
            self.num_entries += status == "started"
            self.status[number] = "abandoned"
        else:
            with pytest.raises(LedgerError):
                self.ledger.abandon(job_id(number), "x")

    @precondition(lambda self: self.jobs)
    @rule(number=numbers)
    def withdraw(self, number: int) -> None:
        if number not in self.jobs:
            with pytest.raises(LedgerError):
                self.ledger.withdraw(job_id(number), "x")
            return
        reserved = self.status[number] == "reserved"
        assert self.ledger.withdraw(job_id(number), "x") is reserved
        if reserved:
            self.num_entries += 1
            self.status[number] = "settled"
            self.settled_now = True

    @precondition(lambda self: "started" in self.status.values())
    @rule(number=numbers)
    def close_dead(self, number: int) -> None:
        status = self.status.get(number)
        if status in (None, "reserved"):
            with pytest.raises(LedgerError):
                self.ledger.close_dead(job_id(number), "x")
            return
        expected = ("abandoned" if self.done[number] else "settled") if status == "started" else status
        assert self.ledger.close_dead(job_id(number), "x") == expected
        self.num_entries += status == "started"
        self.settled_now = self.settled_now or status != expected == "settled"
        self.status[number] = expected

    @precondition(lambda self: "abandoned" in self.status.values())
    @rule(number=numbers)
    def reconcile(self, number: int) -> None:
        if self.status.get(number) != "abandoned":
            with pytest.raises(LedgerError):
                self.ledger.reconcile(job_id(number), "x")
            return
        refund = Fraction(self.ledger.reconcile(job_id(number), "x"))
        assert refund == sum((c for i, c in enumerate(self.jobs[number]) if i not in self.done[number]), Fraction(0))
        self.num_entries += 1
        self.status[number] = "settled"
        self.settled_now = True

    @rule()
    def record(self) -> None:
        self.ledger.record("remark", {"text": "x"})
        self.num_entries += 1

    @rule()
    def reopen(self) -> None:
        before = (self.ledger.accounts(), self.ledger.head(), self.ledger.open_jobs())
        self.ledger.close()
        self.ledger = Ledger.open(self.ledger.path)
        assert (self.ledger.accounts(), self.ledger.head(), self.ledger.open_jobs()) == before

    @invariant()
    def agrees_with_the_model(self) -> None:
        state = self.ledger.account(POPULATION)
        assert Fraction(state.rdp_spent) == self._spent()
        assert Fraction(state.rdp_committed) == self._committed()
        assert state.rdp_committed <= state.rdp_spent <= state.filter.budget
        assert state.epsilon_committed <= state.epsilon_spent <= state.filter.epsilon_cap
        assert self.settled_now or self._spent() >= self.spent_before  # only settling gives anything back
        self.spent_before, self.settled_now = self._spent(), False
        assert self.ledger.head()[0] == self.num_entries

    def teardown(self) -> None:
        report = self.ledger.verify()
        assert report.num_entries == self.num_entries
        assert report.accounts == self.ledger.accounts()
        assert report.num_open_jobs == sum(status != "settled" for status in self.status.values())
        shutil.rmtree(self.folder)


LedgerMachine.TestCase.settings = settings(deadline=None, max_examples=30, stateful_step_count=30)
TestLedgerStateful = LedgerMachine.TestCase
