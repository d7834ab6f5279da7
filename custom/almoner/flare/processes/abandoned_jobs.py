"""What the server does at its start about jobs that ran when it was stopped: they end, and say why.

A job's process at the server dies with it, and the sites' keys of the job with theirs: no job can go on. FLARE would
leave it RUNNING for ever.
"""

import logging
from pathlib import Path

from nvflare.apis.job_def import JobMetaKey, RunStatus
from nvflare.apis.storage import StorageException
from nvflare.app_common.storages.filesystem_storage import FilesystemStorage

from almoner.flare.site.job_folder import is_job_id

logger = logging.getLogger(__name__)

JOBS = "jobs"
"""The server's store of jobs, relative to its folder; see `kit_files`."""

REASON = "the server was restarted while the job ran; what the sites charged for it stays charged → submit it again"
_OPEN = (RunStatus.DISPATCHED.value, RunStatus.RUNNING.value)


def close_abandoned(home: Path) -> None:
    """Mark open jobs as FINISHED:ABANDONED, with the reason as the server's answer. Call it before FLARE starts.

    Args:
        home: the server's folder.
    """
    store = FilesystemStorage()
    folders = sorted((home / JOBS).iterdir()) if (home / JOBS).is_dir() else []
    for folder in folders:
        if not is_job_id(folder.name) or folder.is_symlink():
            continue
        try:
            meta = store.get_meta(str(folder))
            if meta.get(JobMetaKey.STATUS.value) in _OPEN:
                answers = meta.get(JobMetaKey.JOB_DEPLOY_DETAIL.value) or []
                change = {
                    JobMetaKey.STATUS.value: RunStatus.ABANDONED.value,
                    JobMetaKey.JOB_DEPLOY_DETAIL.value: [*answers, f"server: NVFLARE_ERROR: {REASON}"],
                }
                store.update_meta(str(folder), change, replace=False)
        except StorageException as error:
            logger.error("job %s: not closed: %s", folder.name, error)
