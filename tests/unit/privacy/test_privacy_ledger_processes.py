"""Several processes at one ledger: races for the last of a budget, and processes killed while they commit."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from privacy_cases import POPULATION, TREE, gaussian, job_id, reservation, steps

from almoner.errors import BudgetExceeded, LedgerError, PolicyViolation
from almoner.privacy.ledger import Ledger

FORK = multiprocessing.get_context("fork")
NUM_PROCESSES = 4
MANY_PROCESSES = 8
NUM_ATTEMPTS = 10_000
KILLS = 12


def _run(target: Any, *args: Any, num_processes: int = NUM_PROCESSES) -> list[Any]:
    """Run a function in several processes that begin together; return what each sent back."""
    barrier, pipes, processes = FORK.Barrier(num_processes), [], []
    for worker in range(num_processes):
        mine, theirs = FORK.Pipe()
        process = FORK.Process(target=target, args=(barrier, theirs, worker, *args))
        process.start()
        theirs.close()
        pipes.append(mine)
        processes.append(process)
    results = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return results


def _reserve_until_full(barrier: Any, pipe: Connection, worker: int, path: Path) -> None:
    ledger, won = Ledger.open(path, busy_timeout_seconds=60), 0
    barrier.wait()
    for number in range(40):
        try:
            ledger.reserve(reservation(100 * worker + number + 1, steps(4)))
            won += 1
        except BudgetExceeded:
            break
    pipe.send(won)


@pytest.mark.threat("T-04")
def test_processes_that_fight_for_the_last_of_an_account_never_exceed_it(ledger: Ledger) -> None:
    ledger.reserve(reservation(90_000, steps(1)))
    one = ledger.account(POPULATION).rdp_spent
    places = int((ledger.account(POPULATION).filter.budget - one) / (4 * one))
    won = _run(_reserve_until_full, ledger.path)
    state = ledger.account(POPULATION)
    assert sum(won) == places
    assert state.rdp_spent == (1 + 4 * places) * one <= state.filter.budget
    assert ledger.verify().num_open_jobs == places + 1


def _attempt(barrier: Any, pipe: Connection, worker: int, path: Path) -> None:
    ledger, won, refusals = Ledger.open(path, busy_timeout_seconds=60), 0, set()
    barrier.wait()
    for number in range(NUM_ATTEMPTS // MANY_PROCESSES):
        try:
            ledger.reserve(reservation(NUM_ATTEMPTS * (worker + 1) + number, steps(1)))
            won += 1
        except BudgetExceeded as refusal:
            refusals.add(str(refusal).partition(": ")[2])
    pipe.send((won, refusals))


@pytest.mark.threat("T-04")
def test_ten_thousand_attempts_by_eight_processes_at_the_last_of_an_account(
    ledger: Ledger, record_property: Callable[[str, object], None]
) -> None:
    ledger.reserve(reservation(1, steps(1)))
    one = ledger.account(POPULATION).rdp_spent
    places = int(ledger.account(POPULATION).filter.budget / one)
    ledger.reserve(reservation(2, steps(places - 1 - 20)))  # all but twenty places
    begin = time.monotonic()
    results = _run(_attempt, ledger.path, num_processes=MANY_PROCESSES)
    record_property("ledger_race_attempts", NUM_ATTEMPTS)
    print(f"ledger race: {NUM_ATTEMPTS} attempts by {MANY_PROCESSES} processes in {time.monotonic() - begin:.0f} s")
    state = ledger.account(POPULATION)
    assert sum(won for won, _ in results) == 20
    assert state.rdp_spent == places * one <= state.filter.budget < (places + 1) * one
    refusals = {text for _, texts in results for text in texts}
    assert len(refusals) == 1  # the account is full from the first refusal on, and each says the same of it
    assert all(f"charge {one:.4f} does not fit account {POPULATION}" in text and "→" in text for text in refusals)
    assert ledger.verify().num_open_jobs == 22


def _fight_for_one_nonce(barrier: Any, pipe: Connection, worker: int, path: Path) -> None:
    ledger, won = Ledger.open(path, busy_timeout_seconds=60), []
    barrier.wait()
    for number in range(8):
        try:
            ledger.reserve(reservation(100 * worker + number + 1, steps(1), nonce=f"{number:032x}"))
            won.append(number)
        except PolicyViolation:
            continue
    pipe.send(won)


def test_one_nonce_is_won_by_one_process(ledger: Ledger) -> None:
    won = _run(_fight_for_one_nonce, ledger.path)
    assert sorted(number for numbers in won for number in numbers) == list(range(8))
    ledger.verify()


def _start_and_commit(barrier: Any, pipe: Connection, worker: int, path: Path) -> None:
    ledger, won = Ledger.open(path, busy_timeout_seconds=60), []
    barrier.wait()
    try:
        ledger.start(job_id(1), TREE)
        won.append("start")
    except LedgerError:
        pass
    for step in steps(12):
        try:
            ledger.commit(job_id(1), step.key)
            won.append(step.key)
        except LedgerError:
            continue
    pipe.send(won)


def test_one_start_and_each_step_are_won_by_one_process(ledger: Ledger) -> None:
    ledger.reserve(reservation(1, steps(12)))
    won = [name for names in _run(_start_and_commit, ledger.path) for name in names]
    assert won.count("start") == 1
    assert len(won) == len(set(won))
    assert {step.key for step in steps(12) if ledger.committed(job_id(1), step.key)} == {*won} - {"start"}
    assert ledger.verify().num_open_jobs == 1


def _release_other_results(barrier: Any, pipe: Connection, worker: int, path: Path) -> None:
    ledger, won = Ledger.open(path, busy_timeout_seconds=60), []
    barrier.wait()
    for step in steps(12):
        try:
            ledger.release(job_id(1), step.key, f"{worker:064x}")
            ledger.release(job_id(1), step.key, f"{worker:064x}")  # a resend
            won.append(step.key)
        except LedgerError:
            continue
    pipe.send(won)


def test_one_result_of_each_step_is_released_by_one_process(ledger: Ledger) -> None:
    ledger.reserve(reservation(1, steps(12)))
    ledger.start(job_id(1), TREE)
    for step in steps(12):
        ledger.commit(job_id(1), step.key)
    before = ledger.head()[0]
    won = [name for names in _run(_release_other_results, ledger.path) for name in names]
    assert sorted(won) == [step.key for step in steps(12)]
    assert ledger.head()[0] == before + 12
    ledger.verify()


def _commit_and_announce(path: Path, pipe: Connection, number: int) -> None:
    ledger = Ledger.open(path)
    ledger.reserve(reservation(number, steps(40, gaussian(40.0))))
    ledger.start(job_id(number), TREE)
    for step in steps(40):
        ledger.commit(job_id(number), step.key)
        pipe.send(step.key)


def _announced_before_a_kill(path: Path, number: int, after: int) -> Iterator[str]:
    """Let a process commit, kill it some time after `after` announcements; yield all that it announced."""
    mine, theirs = FORK.Pipe()
    process = FORK.Process(target=_commit_and_announce, args=(path, theirs, number))
    process.start()
    theirs.close()
    try:
        for _ in range(after):
            yield mine.recv()
        os.kill(process.pid, signal.SIGKILL)
        while True:  # what it announced between the last read and its death
            yield mine.recv()
    except EOFError:
        process.join()
    assert process.exitcode in (-signal.SIGKILL, 0)


@pytest.mark.threat("T-05")
@pytest.mark.parametrize("seed", range(4))
def test_what_a_killed_process_announced_is_in_the_ledger(
    ledger: Ledger, seed: int, record_property: Callable[[str, object], None]
) -> None:
    rng, killed_early = random.Random(seed), 0
    for number in range(1, KILLS + 1):
        announced = list(_announced_before_a_kill(ledger.path, number, rng.randrange(0, 25)))
        again = Ledger.open(ledger.path)
        again.verify()
        if number not in {int(job.job_id[-12:], 16) for job in again.open_jobs()}:
            assert not announced  # killed before its reservation
            continue
        in_ledger = [step.key for step in steps(40) if again.committed(job_id(number), step.key)]
        assert in_ledger[: len(announced)] == announced
        assert len(in_ledger) - len(announced) <= 1  # at most the commit that it had no time to announce
        killed_early += len(in_ledger) < 40
        again.settle(job_id(number), "its process died")
        assert again.account(POPULATION).rdp_spent == again.account(POPULATION).rdp_committed
    record_property("ledger_kills", KILLS)
    print(f"ledger kills, seed {seed}: {KILLS}, before the last commit: {killed_early}")
    assert killed_early > 0
    assert ledger.verify().num_open_jobs == 0
