"""Jobs that ran when the server was stopped end at its start, with a reason; others stay as they are."""

import uuid
from pathlib import Path

import pytest
from nvflare.apis.job_def import RunStatus
from nvflare.app_common.storages.filesystem_storage import FilesystemStorage

from almoner.flare.commands.session import _report
from almoner.flare.processes.abandoned_jobs import JOBS, REASON, close_abandoned

DEPLOYED = ["server: OK", "cleveland: OK"]


def stored(home: Path, status: str) -> str:
    """Put a job into the server's store as FLARE does."""
    job_id = str(uuid.uuid4())
    meta = {"job_id": job_id, "name": "heart", "status": status, "job_deploy_detail": DEPLOYED}
    FilesystemStorage().create_object(str(home / JOBS / job_id), b"the job", meta)
    return job_id


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.DISPATCHED])
def test_open_jobs_are_abandoned_and_say_why(tmp_path: Path, status: RunStatus) -> None:
    job_id = stored(tmp_path, status.value)
    close_abandoned(tmp_path)
    report = _report(job_id, FilesystemStorage().get_meta(str(tmp_path / JOBS / job_id)))
    assert report.status == "FINISHED:ABANDONED"
    assert report.answers == {"server": REASON, "cleveland": "OK"}


def test_others_stay_as_they_are(tmp_path: Path) -> None:
    kept = {
        stored(tmp_path, status.value): status.value
        for status in RunStatus
        if status.value not in ("RUNNING", "DISPATCHED")
    }
    before = {path: path.read_bytes() for path in (tmp_path / JOBS).rglob("*") if path.is_file()}
    close_abandoned(tmp_path)
    assert kept
    assert {path: path.read_bytes() for path in (tmp_path / JOBS).rglob("*") if path.is_file()} == before


def test_a_server_without_jobs_and_a_damaged_one(tmp_path: Path) -> None:
    close_abandoned(tmp_path)
    good, bad = stored(tmp_path, "RUNNING"), stored(tmp_path, "RUNNING")
    (tmp_path / JOBS / bad / "meta").unlink()
    (tmp_path / JOBS / "notes").mkdir()
    close_abandoned(tmp_path)
    assert FilesystemStorage().get_meta(str(tmp_path / JOBS / good))["status"] == "FINISHED:ABANDONED"
