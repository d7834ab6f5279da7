"""What a site does when a job's process has ended, however it ended."""

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from flare_cases import JOB_ID
from nvflare.apis.job_launcher_spec import JobReturnCode
from nvflare.fuel.common.exit_codes import ProcessExitCode
from nvflare.private.fed.client.client_executor import REPORTABLE_JOB_FAILURES
from nvflare.private.fed.utils.fed_utils import get_return_code

from almoner.flare.job.job_context import JobContext
from almoner.flare.processes.job_forks import JobHandle
from almoner.flare.processes.launcher import SettlingHandle
from almoner.flare.site.job_folder import JOB_LOGS


def handle_of(context: JobContext, end: Callable[[], None]) -> tuple[SettlingHandle, Path]:
    """Start a process that ends as told, with a job's folder; return its handle and the folder."""
    folder = context.site.kit / JOB_ID
    (folder / "app_cleveland").mkdir(parents=True)
    for name in ("meta.json", "log.txt", "_process_rc.txt", "app_cleveland/x"):
        (folder / name).write_text(str(ProcessExitCode.EXCEPTION))
    process = multiprocessing.get_context("fork").Process(target=end)
    process.start()
    return SettlingHandle(JobHandle(process), context.site, JOB_ID), folder


@pytest.mark.parametrize(
    ("end", "code", "refunded"),
    [
        (lambda: os._exit(0), JobReturnCode.SUCCESS, True),
        (lambda: os._exit(1), JobReturnCode.UNKNOWN, False),
        (lambda: os._exit(ProcessExitCode.EXCEPTION), JobReturnCode.UNKNOWN, False),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), JobReturnCode.UNKNOWN, False),
    ],
    ids=["in order", "crash", "FLARE's own code", "killed"],
)
def test_the_end_of_a_process(context: JobContext, end: Callable[[], None], code: int, refunded: bool) -> None:
    """FLARE reads the process's code from its folder, else from the handle, and reports failures to the server."""
    with context.site.ledger() as ledger:
        ledger.commit(JOB_ID, "train-0001")
        reserved = ledger.account(context.dataset.population).rdp_spent
    handle, folder = handle_of(context, end)
    handle.wait()
    assert get_return_code(handle, JOB_ID, str(context.site.kit), logging.getLogger()) == code
    assert code not in REPORTABLE_JOB_FAILURES
    assert not folder.exists()
    assert (context.site.folder / JOB_LOGS / f"{JOB_ID}.txt").is_file()
    with context.site.ledger() as ledger:
        assert (ledger.account(context.dataset.population).rdp_spent < reserved) is refunded


def test_the_folder_stays_while_the_process_runs(context: JobContext) -> None:
    reader, writer = os.pipe()
    handle, folder = handle_of(context, lambda: os.read(reader, 1))
    assert handle.poll() == JobReturnCode.UNKNOWN
    assert folder.is_dir()
    os.write(writer, b"1")
    handle.wait()
    assert not folder.exists()


def test_the_folder_goes_when_the_ledger_cannot_settle(context: JobContext, caplog: pytest.LogCaptureFixture) -> None:
    handle, folder = handle_of(context, lambda: os._exit(0))
    for path in (context.site.folder / "ledger").iterdir():
        path.unlink()
    handle.wait()
    assert "not settled" in caplog.text
    assert not folder.exists()
