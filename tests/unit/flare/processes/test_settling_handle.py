"""The end of a job's process, a real one, decides what becomes of its reservation."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from flare_cases import JOB_ID

from almoner.errors import LedgerError
from almoner.flare.job.job_context import JobContext
from almoner.flare.processes.launcher import SettlingHandle


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Process:
    """A process as FLARE's handle shows it."""

    target: Callable[[], object]
    exit_code: int | None = None

    def wait(self) -> None:
        process = multiprocessing.get_context("fork").Process(target=self.target)
        process.start()
        process.join()
        self.exit_code = process.exitcode


def test_a_process_that_ends_by_itself_settles_its_job(context: JobContext) -> None:
    with context.site.ledger() as ledger:
        ledger.commit(JOB_ID, "train-0001")
        SettlingHandle(Process(int), context.site, JOB_ID).wait()
        assert ledger.job(JOB_ID).status == "settled"
        (account,) = ledger.accounts()
        assert account.rdp_spent == account.rdp_committed > 0


@pytest.mark.threat("T-09")
@pytest.mark.parametrize("end", [kill_itself, lambda: os._exit(3)])
def test_a_process_that_dies_leaves_its_job_abandoned_and_charged(context: JobContext, end: Callable[[], None]) -> None:
    with context.site.ledger() as ledger:
        ledger.commit(JOB_ID, "train-0001")
        (before,) = ledger.accounts()
        handle = SettlingHandle(Process(end), context.site, JOB_ID)
        handle.wait()
        handle.wait()
        assert ledger.job(JOB_ID).status == "abandoned"
        assert ledger.accounts() == (before,)
        with pytest.raises(LedgerError, match="abandoned"):
            ledger.commit(JOB_ID, "train-0002")
        assert ledger.reconcile(JOB_ID, "the machine lost power") == before.rdp_spent - before.rdp_committed
        ledger.verify()


@pytest.mark.threat("T-33")
@pytest.mark.parametrize("end", [kill_itself, lambda: os._exit(3)])
def test_a_process_that_dies_before_it_reads_data_costs_nothing(context: JobContext, end: Callable[[], None]) -> None:
    with context.site.ledger() as ledger:
        (before,) = ledger.accounts()
        assert before.rdp_spent > 0
        handle = SettlingHandle(Process(end), context.site, JOB_ID)
        handle.wait()
        handle.wait()
        assert ledger.job(JOB_ID).status == "settled"
        (after,) = ledger.accounts()
        assert after.rdp_spent == 0
        ledger.verify()
