"""Starts job processes: at a site, only for a job that the ledger admitted and never started before.

FLARE's START_JOB has no authorisation of its own. The site's launcher asks the ledger, which lets each
reservation be started once, soon after its admission, for exactly the folder that was admitted; and it settles the
charge from the process's own end, never from an event.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, JobConstants
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_launcher_spec import (
    JobHandleSpec,
    JobLauncherSpec,
    JobProcessArgs,
    JobReturnCode,
    add_launcher,
)
from nvflare.apis.workspace import Workspace
from nvflare.utils.job_launcher_utils import get_client_job_args, get_credential_env, get_server_job_args

from almoner.errors import AlmonerError
from almoner.flare.processes.job_forks import JobHandle, fork_job
from almoner.flare.site.job_folder import remove_job, run_folder
from almoner.flare.site.late_starts import refuse_late_start
from almoner.flare.site.site_files import SiteFiles, load_site_files
from almoner.flare.site.tree import read_tree, tree_digest

logger = logging.getLogger(__name__)


def _command_line(job_args: dict[str, tuple[str, Any]], names: Sequence[str]) -> list[str]:
    """Return the arguments of FLARE's main function; values may hold spaces, the options are split."""
    line: list[str] = []
    for name in names:
        if name in job_args:
            option, value = job_args[name]
            line += [option, *(str(value).split() if name == JobProcessArgs.OPTIONS else [str(value)])]
    return line


class ServerLauncher(JobLauncherSpec):  # type: ignore[misc]
    """Forks the server's job processes."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Offer this launcher when FLARE looks for one."""
        if event_type == EventType.BEFORE_JOB_LAUNCH:
            add_launcher(self, fl_ctx)

    def launch_job(self, job_meta: dict[str, Any], fl_ctx: FLContext) -> JobHandleSpec:
        """Start the job process."""
        job_args = fl_ctx.get_prop(FLContextKey.JOB_PROCESS_ARGS)
        line = _command_line(job_args, get_server_job_args(include_exe_module=False))
        return fork_job("server", line, get_credential_env(job_args))


class AuthorisedLauncher(JobLauncherSpec):  # type: ignore[misc]
    """Forks a site's job processes, behind the ledger.

    *Guarantee*: no job process starts without an open reservation that was never started, is not older than
    `START_SECONDS`, and whose digest is that of the folder on disk.
    """

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Offer this launcher when FLARE looks for one."""
        if event_type == EventType.BEFORE_JOB_LAUNCH:
            add_launcher(self, fl_ctx)

    def launch_job(self, job_meta: dict[str, Any], fl_ctx: FLContext) -> JobHandleSpec:
        """Start the job process.

        Raises:
            LedgerError: the job has no open, never-started reservation for this folder, or one that is too old, which
                is given back.
        """
        workspace: Workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
        job_id = str(job_meta.get(JobConstants.JOB_ID))
        site = load_site_files(workspace)
        with site.ledger() as ledger:
            refuse_late_start(ledger, job_id, run_folder(workspace, job_id), site.folder)
            ledger.start(job_id, tree_digest(read_tree(Path(workspace.get_app_dir(job_id)))))
        job_args = fl_ctx.get_prop(FLContextKey.JOB_PROCESS_ARGS)
        line = _command_line(job_args, get_client_job_args(include_exe_module=False))
        return SettlingHandle(fork_job("client", line, get_credential_env(job_args)), site, job_id)


class SettlingHandle(JobHandleSpec):  # type: ignore[misc]
    """A job's process, whose end settles the job's charge and deletes the job's folder.

    A process that ends by itself with code 0 was told to end by the server, or had lost it: steps that it
    never started are refunded. After any other end (crash, kill) a job that had committed no step is refunded too,
    since it had read no data. One that had is abandoned: its whole reservation stays charged, since what the process
    had seen is not public, until the site's data officer reconciles it.
    """

    def __init__(self, handle: JobHandle, site: SiteFiles, job_id: str) -> None:
        super().__init__()
        self._handle, self._site, self._job_id = handle, site, job_id

    def terminate(self) -> None:
        """Kill the process."""
        self._handle.terminate()

    def poll(self) -> JobReturnCode:
        """Return SUCCESS, or UNKNOWN while the process runs and after any other end.

        FLARE would report a crash to the server, which then fails the job for all sites.
        """
        code = self._handle.poll()
        return code if code == JobReturnCode.SUCCESS else JobReturnCode.UNKNOWN

    def wait(self) -> None:
        """Wait for the process, then settle and delete the job's folder, which FLARE's parent process needs no more."""
        self._handle.wait()
        self._settle()
        remove_job(self._site.kit / self._job_id, self._site.folder)

    def _settle(self) -> None:
        """Refund what was never started, if the process ended by itself; else close the job as dead."""
        try:
            with self._site.ledger() as ledger:
                if self._handle.exit_code == 0:
                    ledger.settle(self._job_id, "the job ended")
                else:
                    status = ledger.close_dead(self._job_id, "its process did not end by itself")
                    logger.warning("job %s: its process did not end by itself; %s", self._job_id, status)
        except AlmonerError as error:
            logger.error("job %s: not settled: %s", self._job_id, error)
