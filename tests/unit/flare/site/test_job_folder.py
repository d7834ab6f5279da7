"""A job's folder is written whole or not at all, and deleted whole; nothing else of the kit is touched."""

import logging
import os
import uuid
from pathlib import Path

import pytest
from nvflare.apis.workspace import Workspace

from almoner.errors import ProvisioningError
from almoner.flare.site.job_folder import JOB_LOGS, KEPT_LOGS, is_job_id, remove_job, remove_leftovers, write_job

META = {"name": "small"}
FILES = {"config/almoner_job.json": b"{}", "config/config_fed_client.json": b"{}"}


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    (tmp_path / "kit" / "startup").mkdir(parents=True)
    (tmp_path / "kit" / "local").mkdir()
    return tmp_path / "kit"


@pytest.fixture
def workspace(kit: Path) -> Workspace:
    return Workspace(str(kit), "hungary")


def job(workspace: Workspace, log: str = "") -> Path:
    """Write a job's folder, and what its process leaves there."""
    job_id = str(uuid.uuid4())
    write_job(workspace, job_id, META, "app", FILES)
    folder = Path(workspace.get_run_dir(job_id))
    if log:
        (folder / "log.txt").write_text(log)
        (folder / "models").mkdir()
        (folder / "models" / "best.pt").write_bytes(b"weights")
    return folder


def test_all_of_it_is_deleted_but_the_log(workspace: Workspace, tmp_path: Path) -> None:
    folder = job(workspace, "why it failed")
    remove_job(folder, tmp_path)
    assert not folder.exists()
    kept = tmp_path / JOB_LOGS / f"{folder.name}.txt"
    assert kept.read_text() == "why it failed"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_a_job_that_never_started_leaves_nothing(workspace: Workspace, tmp_path: Path) -> None:
    folder = job(workspace)
    remove_job(folder, tmp_path)
    assert not folder.exists()
    assert not (tmp_path / JOB_LOGS).exists()


def test_the_youngest_logs_are_kept(workspace: Workspace, tmp_path: Path) -> None:
    names = []
    for age in range(KEPT_LOGS + 3):
        folder = job(workspace, "text")
        os.utime(folder / "log.txt", (age, age))
        remove_job(folder, tmp_path)
        names.append(f"{folder.name}.txt")
    assert {path.name for path in (tmp_path / JOB_LOGS).iterdir()} == set(names[3:])


def test_the_folder_goes_even_if_its_log_cannot_be_kept(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / JOB_LOGS).write_text("a file where the folder should be")
    folder = job(workspace, "text")
    remove_job(folder, tmp_path)
    assert not folder.exists()
    assert "its log is not kept" in caplog.text


def test_a_folder_that_cannot_be_deleted_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    remove_job(tmp_path / str(uuid.uuid4()), tmp_path)
    assert [(record.levelno, "is not deleted" in record.message) for record in caplog.records] == [
        (logging.ERROR, True)
    ]


def test_leftovers_of_a_killed_process(workspace: Workspace, kit: Path, tmp_path: Path) -> None:
    """Only folders that are certainly jobs go: not the kit's own, no other names, no links, no files."""
    half_unpacked = kit / str(uuid.uuid4())
    half_unpacked.mkdir()
    gone = [job(workspace, "first"), job(workspace), half_unpacked]
    elsewhere = tmp_path / "elsewhere"
    job(workspace).rename(elsewhere)
    (kit / str(uuid.uuid4())).symlink_to(elsewhere)
    (kit / str(uuid.uuid4())).write_text("a file")
    for name in (uuid.uuid4().hex, str(uuid.uuid4()).upper(), f"{{{uuid.uuid4()}}}", "precious"):
        job(workspace).rename(kit / name)
    stay = {path for path in kit.iterdir() if path not in gone}
    remove_leftovers(kit, tmp_path)
    assert set(kit.iterdir()) == stay
    assert (elsewhere / "meta.json").is_file()
    assert [path.stem for path in (tmp_path / JOB_LOGS).iterdir()] == [gone[0].name]


HEX = "6a1b1111000040008000000000000000"


@pytest.mark.parametrize("name", ["", "local", "../startup", HEX, f"urn:uuid:{uuid.UUID(HEX)}"])
def test_names_that_are_no_job_ids(name: str) -> None:
    assert not is_job_id(name)


@pytest.mark.parametrize("meta", [{"name": b"bytes"}, {"name": {1, 2}}, {("a", "b"): 1}], ids=["bytes", "set", "key"])
def test_meta_data_that_is_no_json_leaves_no_folder(workspace: Workspace, kit: Path, meta: dict[str, object]) -> None:
    before = set(kit.iterdir())
    with pytest.raises(TypeError):
        write_job(workspace, str(uuid.uuid4()), meta, "app", FILES)
    assert set(kit.iterdir()) == before


def test_a_name_that_cannot_be_written_leaves_no_folder(workspace: Workspace, kit: Path) -> None:
    before = set(kit.iterdir())
    with pytest.raises(ProvisioningError, match="cannot be written"):
        write_job(workspace, str(uuid.uuid4()), META, "app", {**FILES, "x" * 300: b""})
    assert set(kit.iterdir()) == before
