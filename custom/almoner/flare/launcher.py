"""Starts a job process only for a job that the ledger admitted and never started before.

FLARE's START_JOB has no authorisation of its own. The launcher asks the ledger, which lets each
reservation be started once, for exactly the folder that was admitted; and it settles the charge from the
process's own end, never from an event.
"""

import logging
from pathlib import Path
from typing import Any

from nvflare.apis.fl_constant import FLContextKey, JobConstants
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_launcher_spec import JobHandleSpec
from nvflare.apis.workspace import Workspace
from nvflare.app_common.job_launcher.client_process_launcher import ClientProcessJobLauncher

from almoner.errors import AlmonerError
from almoner.flare.site_files import SiteFiles, load_site_files
from almoner.flare.tree import read_tree, tree_digest

logger = logging.getLogger(__name__)


class AuthorisedLauncher(ClientProcessJobLauncher):  # type: ignore[misc]
    """FLARE's process launcher behind the ledger.

    *Guarantee*: no job process starts without an open reservation that was never started, and whose
    digest is that of the folder on disk.
    """

    def launch_job(self, job_meta: dict[str, Any], fl_ctx: FLContext) -> JobHandleSpec:
        """Start the job process.

        Raises:
            LedgerError: the job has no open, never-started reservation for this folder.
        """
        workspace: Workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
        job_id = str(job_meta.get(JobConstants.JOB_ID))
        site = load_site_files(workspace)
        with site.ledger() as ledger:
            ledger.start(job_id, tree_digest(read_tree(Path(workspace.get_app_dir(job_id)))))
        return SettlingHandle(super().launch_job(job_meta, fl_ctx), site, job_id)


class SettlingHandle(JobHandleSpec):  # type: ignore[misc]
    """A job's process, whose end settles the job's charge.

    A process that ends by itself with code 0 was told to end by the server: steps that it never started
    are refunded. After any other end (crash, kill) the whole reservation stays charged, since what the
    process had seen is not public.
    """

    def __init__(self, handle: JobHandleSpec, site: SiteFiles, job_id: str) -> None:
        super().__init__()
        self._handle, self._site, self._job_id = handle, site, job_id

    def terminate(self) -> None:
        """Kill the process."""
        self._handle.terminate()

    def poll(self) -> Any:
        """Return FLARE's code of the process's end, or UNKNOWN while it runs."""
        return self._handle.poll()

    def wait(self) -> None:
        """Wait for the process, then settle."""
        self._handle.wait()
        if self._handle.adapter.poll() != 0:
            logger.warning("job %s: its process did not end by itself; the reservation stays charged", self._job_id)
            return
        try:
            with self._site.ledger() as ledger:
                ledger.settle(self._job_id, "the job ended")
        except AlmonerError as error:
            logger.error("job %s: not settled: %s", self._job_id, error)
