"""Forks job processes from a helper that has imported everything once.

A stock job process spends most of its start importing FLARE, torch and Opacus. Here a helper process, which
Python's `multiprocessing` calls a fork server, imports `job_process` when the server or site starts, and forks
for each job. The helper runs nothing else: it has no threads, no connections, no keys and no data, so a fork
of it has none either. All noise, sampling and keys are drawn from generators that are seeded by the operating
system after the fork; the global generators of numpy and torch, which forks share, are used for none of them.
"""

import multiprocessing
import os
import shutil
import tempfile
import threading
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Literal

from nvflare.apis.job_launcher_spec import JobHandleSpec, JobReturnCode

Kind = Literal["client", "server"]

_PRELOADED = "almoner.flare.processes.job_process"
_CONTEXT = multiprocessing.get_context("forkserver")


def start_helper(folder: Path) -> None:
    """Start the helper that job processes are forked from, or do nothing if it runs.

    Python makes a folder for the helper's socket where temporary files go. A process that is killed, as FLARE's are,
    leaves it. So it is made in a folder of the participant's, and what an earlier process left there is removed.

    Args:
        folder: the private folder, held by this process; its path may be relative to save length (108 bytes at most).
    """
    for left in folder.glob("pymp-*"):
        shutil.rmtree(left)
    _CONTEXT.set_forkserver_preload([_PRELOADED])
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        forkserver.ensure_running()
    finally:
        tempfile.tempdir = before


def fork_job(kind: Kind, arguments: list[str], credentials: dict[str, str]) -> "JobHandle":
    """Fork a job process.

    Args:
        kind: a site's or the server's.
        arguments: the command line of FLARE's main function.
        credentials: environment variables on top of this process's own.
    """
    environment = dict(os.environ) | credentials
    process = _CONTEXT.Process(target=_run, args=(kind, arguments, environment, str(Path.cwd())), daemon=True)
    process.start()
    return JobHandle(process)


def _run(kind: Kind, arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """Become the job process. Runs in the fork, where the import below is done already."""
    from almoner.flare.processes.job_process import run_job

    run_job(kind, arguments, environment, folder)


class JobHandle(JobHandleSpec):  # type: ignore[misc]
    """A forked job process, as FLARE wants to handle it; safe to use from several threads."""

    def __init__(self, process: multiprocessing.process.BaseProcess) -> None:
        super().__init__()
        self._process = process
        self._lock = threading.Lock()

    @property
    def exit_code(self) -> int | None:
        """The process's exit code, negative for a signal; None while it runs."""
        with self._lock:
            return self._process.exitcode

    def terminate(self) -> None:
        """Kill the process."""
        with self._lock:
            self._process.kill()

    def poll(self) -> JobReturnCode:
        """Return FLARE's code of the process's end, or UNKNOWN while it runs."""
        code = self.exit_code
        if code is None:
            return JobReturnCode.UNKNOWN
        known = {0: JobReturnCode.SUCCESS, 9: JobReturnCode.ABORTED}
        return known.get(code, JobReturnCode.EXECUTION_ERROR)

    def wait(self) -> None:
        """Wait for the process's end."""
        connection.wait([self._process.sentinel])
        with self._lock:
            self._process.join()
