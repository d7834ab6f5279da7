"""FLARE's executor of every Almoner job: parses the task, lets `SiteJob` answer, seals the result."""

import logging
import threading

from nvflare.apis.executor import Executor
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from almoner.errors import AlmonerError, ProtocolError
from almoner.flare.components.job_kinds import job_context, site_job
from almoner.flare.job.sealed import Sealed, SealedResult
from almoner.flare.job.wire import PAYLOAD_KEY, ReplyKind, decode_task
from almoner.flare.phases.site_job import SiteJob

logger = logging.getLogger(__name__)

REFUSED = Sealed(kind=ReplyKind.REFUSAL, round=0, step="", body=b"", committed=True)


class AlmonerExecutor(Executor):  # type: ignore[misc]
    """The only executor that a site's class allow-list admits. It takes no arguments and keeps no events.

    *Guarantee*: every call returns a `SealedResult`; every failure returns the same empty one, and no
    exception, return code or text of a failure reaches the server.
    """

    def __init__(self) -> None:
        super().__init__()
        self._job: SiteJob | None = None
        self._job_lock = threading.Lock()

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Answer one task."""
        try:
            header, body = decode_task(shareable.get(PAYLOAD_KEY))
            if header.kind != task_name:
                raise ProtocolError(f"task {task_name} carries {header.kind}")
            return SealedResult(self._open_job(fl_ctx).answer(header, body))
        except AlmonerError as error:
            logger.error("task %s not answered: %s", task_name, error)
        except Exception as error:  # noqa: BLE001 - one answer to every failure; the type alone is logged
            logger.error("task %s failed: %s", task_name, type(error).__name__)
        return SealedResult(REFUSED)

    def _open_job(self, fl_ctx: FLContext) -> SiteJob:
        """Build the job's state at the first task."""
        with self._job_lock:
            if self._job is None:
                self._job = site_job(job_context(fl_ctx))
            return self._job
