"""How fast a large ledger is: one account with 100 000 entries, on the disk that holds the temporary folder.

- `admit_p99_ms`: one reservation of a job of 20 rounds, durable when it returns. Beside it the median, the
  processor's part of it, and a bare append and fsync on the same disk after each: what the machine was like.
- `speedup_vs_recompose`: whether a job fits, read from the stored sum, against composing all events of the
  account anew with dp_accounting at the account's order, equal events merged.
- `verify_s`: the whole chain, every transition, and the tables.
"""

import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from apsw import Connection
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant

from almoner.privacy import ledger_transitions as transitions
from almoner.privacy.ledger import Ledger, Reservation
from almoner.privacy.ledger_file import transaction
from almoner.privacy.plan import PlannedStep, charge_of_steps
from almoner.schema.policy import Account
from almoner.schema.receipt import SampledGaussian

NUM_ENTRIES = 100_000
ROUNDS = 20
ATTEMPTS = 500
POPULATION = "cleveland-cardiology"
TREE = "b" * 64
Q = 0.1


def planned(number: int) -> tuple[PlannedStep, ...]:
    """Return the steps of one job; no two jobs have the same noise."""
    sigma = 4000 + number / 1000
    event = SampledGaussian(kind="sampled_gaussian", noise_multiplier=sigma, sampling_prob=Q, count=1)
    return tuple(PlannedStep(f"train-{index:04d}", (event,)) for index in range(1, ROUNDS + 1))


def reservation(number: int) -> Reservation:
    """Return one job's reservation."""
    return Reservation(
        job_id=str(uuid.UUID(int=number)),
        nonce=f"{number:032x}",
        envelope_digest="a" * 64,
        tree_digest=TREE,
        population=POPULATION,
        privacy_unit="patient",
        neighboring_relation="add_or_remove_one",
        steps=planned(number),
    )


def _run_job(connection: Connection, number: int) -> int:
    """Write a job's whole life; return its number of entries."""
    asked = reservation(number)
    transitions.reserve(connection, asked)
    transitions.start(connection, asked.job_id, TREE)
    for step in asked.steps:
        transitions.commit(connection, asked.job_id, step.key)
        transitions.release(connection, asked.job_id, step.key, f"{number:064x}")
    transitions.settle(connection, asked.job_id, "the job ended")
    return 3 + 2 * len(asked.steps)


def large_ledger(path: Path, num_entries: int) -> tuple[Ledger, int]:
    """Make a ledger of one account with so many entries; return it and the number of jobs."""
    ledger = Ledger.create(path, "cleveland")
    ledger.open_account(
        Account(
            population=POPULATION,
            privacy_unit="patient",
            neighboring_relation="add_or_remove_one",
            epsilon_cap=3.0,
            delta=1e-4,
        )
    )
    entries, jobs = 2, 0
    with transaction(path, 10.0, write=True) as connection:  # one transaction: only the entries matter here
        while entries < num_entries:
            jobs += 1
            entries += _run_job(connection, jobs)
    return ledger, jobs


def _seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _percentile_ms(seconds: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return round(1000 * sorted(seconds)[int(share * len(seconds))], 2)


def _admit(ledger: Ledger, first: int, probe: Path) -> dict[str, object]:
    """Reserve job after job, each followed by a bare append and sync of a page."""
    order = ledger.account(POPULATION).filter.order
    admit, processor, sync = [], [], []
    with probe.open("wb", buffering=0) as file:
        for number in range(first, first + ATTEMPTS):
            asked = reservation(number)
            charge_of_steps(asked.steps, order)  # a submitted job was planned, its charge computed, before
            begin = time.process_time()
            admit.append(_seconds(lambda asked=asked: ledger.reserve(asked)))
            processor.append(time.process_time() - begin)
            file.write(bytes(4096))
            sync.append(_seconds(lambda: os.fsync(file.fileno())))
    return {
        "admit_p99_ms": _percentile_ms(admit, 0.99),
        "admit_median_ms": _percentile_ms(admit, 0.5),
        "admit_processor_p99_ms": _percentile_ms(processor, 0.99),
        "fsync_p99_ms": _percentile_ms(sync, 0.99),
        "fsync_median_ms": _percentile_ms(sync, 0.5),
    }


def _recompose(num_jobs: int, order: int) -> float:
    """Compose every job's events with dp_accounting; return their sum at the order."""
    accountant = RdpAccountant(orders=[order])
    for number in range(1, num_jobs + 1):
        sigma = planned(number)[0].events[0].noise_multiplier
        accountant.compose(PoissonSampledDpEvent(Q, GaussianDpEvent(sigma)), ROUNDS)
    return float(accountant.rdp[0])


def run() -> dict[str, object]:
    """Build the ledger, then measure; a folder on disk, never in memory."""
    with tempfile.TemporaryDirectory() as name:
        ledger, num_jobs = large_ledger(Path(name) / "ledger.sqlite", NUM_ENTRIES)
        num_entries = ledger.head()[0]
        admit = _admit(ledger, num_jobs + 1, Path(name) / "probe")
        state = ledger.account(POPULATION)
        decide = statistics.median(
            _seconds(lambda: ledger.account(POPULATION).filter.fits(state.rdp_spent, 0.1)) for _ in range(200)
        )
        recompose = _seconds(lambda: _recompose(num_jobs, state.filter.order))
        begin = time.process_time()
        verify = _seconds(ledger.verify)
        verify_processor = time.process_time() - begin
        return {
            **admit,
            "verify_s": round(verify, 2),
            "verify_processor_s": round(verify_processor, 2),
            "speedup_vs_recompose": round(recompose / decide),
            "decide_ms": round(1000 * decide, 3),
            "recompose_ms": round(1000 * recompose, 1),
            "entries": num_entries,
            "file_megabytes": round(ledger.path.stat().st_size / 1e6, 1),
        }
