"""The folder of a job at a site, in FLARE's workspace: written by the site itself, whole or not at all."""

import json
import shutil
from pathlib import Path
from typing import Any

from nvflare.apis.workspace import Workspace

from almoner.errors import ProvisioningError


def run_folder(workspace: Workspace, job_id: str) -> Path:
    """Return where FLARE looks for a job; ids are checked before."""
    return Path(workspace.get_run_dir(job_id))


def write_job(workspace: Workspace, job_id: str, meta: dict[str, Any], app_name: str, files: dict[str, bytes]) -> None:
    """Write the site's own rendering where FLARE's job process looks for it.

    Raises:
        ProvisioningError: there is a folder of this name, which is left alone, or it cannot be written.
    """
    folder, app_folder = run_folder(workspace, job_id), Path(workspace.get_app_dir(job_id))
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ProvisioningError(f"{folder}: cannot be made: {error.strerror} → see the disk and the kit") from None
    try:
        for name, content in files.items():
            target = app_folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        (folder / "fl_app.txt").write_text(app_name)
        Path(workspace.get_job_meta_path(job_id)).write_text(json.dumps(meta, indent=2))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ProvisioningError(f"{folder}: cannot be written: {error.strerror} → see the disk") from None
