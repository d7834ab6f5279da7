"""The server's book of jobs, in which a job that has ended stays ended, and that takes none larger than any job is.

FLARE's `abort_job` answers a job that waits or is being deployed with no more than a new status. FLARE's job runner
writes DISPATCHED and RUNNING over it, and trains in full a job that somebody was told is aborted. Here a status
FINISHED:* is final, and the runner learns of it in its own ways: it reads back what it wrote as DISPATCHED and lets
the job be, and it stops a job for which RUNNING cannot be written.

    SUBMITTED, DISPATCHED, RUNNING --> any      but FINISHED:ABORTED only while no process of the job runs
    FINISHED:*                     --> RUNNING  raises: the runner has started the job meanwhile, and must stop it
    FINISHED:*                     --> other    nothing is written
"""

import threading
from typing import Any

from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.job_def_manager import SimpleJobDefManager
from nvflare.apis.job_def import JobMetaKey, RunStatus

from almoner.errors import FederationError
from almoner.flare.door.upload import verify_upload_bounds

_FINISHED = "FINISHED:"


class FinalStatusJobManager(SimpleJobDefManager):  # type: ignore[misc]
    """FLARE's `job_manager` of the server.

    *Guarantee*: no status is ever written over a FINISHED:* one, whichever threads write at once. Nothing is stored,
    and so nothing unzipped, that unpacks to more than `upload.MAX_UNPACKED_BYTES`.

    Args:
        uri_root: the store's folder of jobs.
        job_store_id: FLARE's id of the store.

    Mitigates: T-11, T-33.
    """

    def __init__(self, uri_root: str = "jobs", job_store_id: str = "job_store") -> None:
        super().__init__(uri_root, job_store_id)
        self._one_writer = threading.Lock()

    def create(self, meta: dict[str, Any], uploaded_content: str | bytes, fl_ctx: FLContext) -> dict[str, Any]:
        """Store a submitted job.

        Raises:
            PolicyViolation: it is larger than any job, or no zip; its submitter reads why.
        """
        verify_upload_bounds(uploaded_content)
        stored: dict[str, Any] = super().create(meta, uploaded_content, fl_ctx)
        return stored

    def set_status(self, jid: str, status: RunStatus, fl_ctx: FLContext) -> None:
        """Write a job's status, as the module's table says.

        Raises:
            FederationError: the job has ended and was started nevertheless, or runs and cannot be just marked as
                aborted.
        """
        with self._one_writer:
            now = str(self._get_job_store(fl_ctx).get_meta(self.job_uri(jid)).get(JobMetaKey.STATUS.value))
            if not now.startswith(_FINISHED):
                if status == RunStatus.FINISHED_ABORTED and now == RunStatus.RUNNING and _is_running(jid, fl_ctx):
                    raise FederationError(f"job {jid} was started just now → abort it again")
                super().set_status(jid, status, fl_ctx)
            elif status == RunStatus.RUNNING:
                raise FederationError(f"job {jid} is {now} → it is stopped")

    def update_meta(self, jid: str, meta: dict[str, Any], fl_ctx: FLContext) -> None:
        """Write other fields; the store reads and writes all fields at once, so the status is among them."""
        with self._one_writer:
            super().update_meta(jid, meta, fl_ctx)


def _is_running(jid: str, fl_ctx: FLContext) -> bool:
    """Tell whether the server has a process for a job."""
    return jid in fl_ctx.get_engine().run_processes
