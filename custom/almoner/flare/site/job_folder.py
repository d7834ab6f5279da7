"""The folder of a job at a site, in FLARE's workspace: written and deleted by the site itself, whole.

A job's folder is there from admission to the end of the job's process. What it says is in the ledger, as a
digest; only the process's own log is kept, beside the kit, for the operator who asks why a job failed.
"""

import json
import logging
import shutil
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nvflare.apis.workspace import Workspace

from almoner.errors import ProvisioningError

logger = logging.getLogger(__name__)

JOB_LOGS = "job-logs"
"""A site's folder of the logs of jobs that have ended, relative to the site's folder."""

KEPT_LOGS = 30

_LOG = "log.txt"


def is_job_id(name: str) -> bool:
    """Tell whether a name is a UUID in its one canonical form."""
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def run_folder(workspace: Workspace, job_id: str) -> Path:
    """Return where FLARE looks for a job; ids are checked before."""
    return Path(workspace.get_run_dir(job_id))


def write_job(workspace: Workspace, job_id: str, meta: dict[str, Any], app_name: str, files: dict[str, bytes]) -> None:
    """Write the site's own rendering where FLARE's job process looks for it, whole or not at all.

    Raises:
        ProvisioningError: there is a folder of this name, which is left alone, or it cannot be written.
    """
    folder, app_folder = run_folder(workspace, job_id), Path(workspace.get_app_dir(job_id))
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ProvisioningError(f"{folder}: cannot be made: {error.strerror} → see the disk and the kit") from None
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            Path(workspace.get_job_meta_path(job_id)).write_text(json.dumps(meta, indent=2))
            for name, content in files.items():
                target = app_folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            (folder / "fl_app.txt").write_text(app_name)
        except OSError as error:
            raise ProvisioningError(f"{folder}: cannot be written: {error.strerror} → see the disk") from None
        undo.pop_all()


def remove_job(folder: Path, home: Path) -> None:
    """Delete a job's folder with all that FLARE left in it, and keep its process's log.

    *Guarantee*: on return the folder is gone, or a line in the site's log says what stands in the way.

    Args:
        folder: the job's folder, whose name is the job's id.
        home: the site's folder; the log goes to `job-logs/<job id>.txt` in it, of mode 600. The youngest
            `KEPT_LOGS` stay.
    """
    try:
        _keep_log(folder, home / JOB_LOGS)
    except OSError as error:
        logger.warning("job %s: its log is not kept: %s", folder.name, error.strerror)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        logger.error("job %s: its folder is not deleted: %s → delete it by hand", folder.name, error.strerror)


def remove_leftovers(kit: Path, home: Path) -> None:
    """Delete the folders of jobs whose parent process was killed; before FLARE starts, when no job runs.

    FLARE imports code from any folder of the workspace, and its server unpacks uploads there before it checks them.
    Nothing is touched but folders, no links, whose name is a job id.
    """
    for folder in kit.iterdir():
        if is_job_id(folder.name) and not folder.is_symlink() and folder.is_dir():
            remove_job(folder, home)


def _keep_log(folder: Path, logs: Path) -> None:
    """Move a job's log out of its folder, and drop the oldest logs; a job that never started has none."""
    log = folder / _LOG
    if not log.is_file():
        return
    logs.mkdir(mode=0o700, exist_ok=True)
    log.chmod(0o600)
    shutil.move(log, logs / f"{folder.name}.txt")
    by_age = sorted(logs.glob("*.txt"), key=lambda path: path.stat().st_mtime_ns)
    for old in by_age[:-KEPT_LOGS]:
        old.unlink(missing_ok=True)
