"""An abort is final at the server, in each moment in which FLARE's own job manager loses it."""

import io
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from nvflare.apis.fl_context import FLContext, FLContextManager
from nvflare.apis.impl.job_def_manager import SimpleJobDefManager
from nvflare.apis.job_def import JobMetaKey, RunStatus
from nvflare.apis.server_engine_spec import ServerEngineSpec
from nvflare.app_common.storages.filesystem_storage import FilesystemStorage

from almoner.errors import FederationError, PolicyViolation
from almoner.flare.processes.job_manager import FinalStatusJobManager

ABORTED = RunStatus.FINISHED_ABORTED


def zipped(content: bytes) -> bytes:
    """A job's folder in a zip, with one file."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("job/meta.json", content)
    return found.getvalue()


class Server:
    """A job manager of the given class on a real store, with one submitted job; and FLARE's steps with it."""

    def __init__(self, folder: Path, manager: type[SimpleJobDefManager]) -> None:
        engine = create_autospec(ServerEngineSpec, instance=True)
        self.store = FilesystemStorage(root_dir=str(folder), uri_root="/")
        engine.get_component.return_value = self.store
        engine.run_processes = self.processes = dict[str, Any]()
        self.context: FLContext = FLContextManager(engine=engine).new_context()
        self.manager = manager(uri_root=str(folder / "jobs"))
        self.job_id = str(self.manager.create({}, zipped(b"{}"), self.context)[JobMetaKey.JOB_ID.value])

    def status(self) -> str:
        job = self.manager.get_job(self.job_id, self.context)
        assert job is not None
        return str(job.meta[JobMetaKey.STATUS.value])

    def set(self, status: RunStatus) -> None:
        self.manager.set_status(self.job_id, status, self.context)


@pytest.fixture
def flares(tmp_path: Path) -> Server:
    return Server(tmp_path / "flares", SimpleJobDefManager)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "ours", FinalStatusJobManager)


@pytest.mark.threat("T-33")
def test_aborted_while_it_is_deployed(server: Server, flares: Server) -> None:
    for each in (flares, server):
        each.set(ABORTED)
        each.set(RunStatus.DISPATCHED)
    assert flares.status() == "DISPATCHED", "the attack: the job runner goes on"
    assert server.status() == ABORTED


@pytest.mark.threat("T-33")
def test_aborted_while_it_is_started(server: Server, flares: Server) -> None:
    for each in (flares, server):
        each.set(RunStatus.DISPATCHED)
        each.set(ABORTED)
    flares.set(RunStatus.RUNNING)
    assert flares.status() == "RUNNING", "the attack: the job runs in full"
    with pytest.raises(FederationError, match="it is stopped"):  # at which the job runner stops the processes
        server.set(RunStatus.RUNNING)
    server.set(RunStatus.FAILED_TO_RUN)
    assert server.status() == ABORTED


@pytest.mark.threat("T-33")
def test_an_abort_that_comes_too_late_to_be_just_marked(server: Server, flares: Server) -> None:
    """FLARE read DISPATCHED, and writes its answer after the job was started."""
    for each in (flares, server):
        each.set(RunStatus.DISPATCHED)
        each.processes[each.job_id] = {}
        each.set(RunStatus.RUNNING)
    flares.set(ABORTED)
    assert flares.status() == ABORTED, "the attack: it runs, and further aborts find it ended"
    with pytest.raises(FederationError, match="abort it again"):
        server.set(ABORTED)
    assert server.status() == "RUNNING"
    server.processes.clear()  # as after FLARE's `stop_run`
    server.set(ABORTED)
    assert server.status() == ABORTED


def abort_between_read_and_write(server: Server, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Note another field; meanwhile, when the store has read all fields and not yet written them, abort the job.

    Args:
        seconds: how long the abort is waited for there.
    """
    read, reads = server.store.get_meta, threading.Event()
    aborting = threading.Thread(target=server.set, args=(ABORTED,))

    def read_and_wait(uri: str) -> Any:
        meta = read(uri)
        if threading.current_thread() is threading.main_thread() and not reads.is_set():
            reads.set()
            aborting.start()
            aborting.join(seconds)
        return meta

    monkeypatch.setattr(server.store, "get_meta", read_and_wait)
    server.manager.update_meta(server.job_id, {"job_deploy_detail": ["server: OK"]}, server.context)
    aborting.join()


@pytest.mark.threat("T-33")
def test_an_abort_while_another_field_is_written(
    server: Server, flares: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each, seconds in ((flares, 60.0), (server, 0.5)):  # ours does not let it in meanwhile
        each.set(RunStatus.DISPATCHED)
        abort_between_read_and_write(each, seconds, monkeypatch)
    assert flares.status() == "DISPATCHED", "the attack: the abort is written over"
    assert server.status() == ABORTED


def run_in_full(server: Server) -> None:
    server.set(RunStatus.DISPATCHED)
    server.manager.update_meta(server.job_id, {"job_deploy_detail": ["server: OK"]}, server.context)
    server.set(RunStatus.RUNNING)
    server.set(RunStatus.FINISHED_COMPLETED)


@pytest.mark.parametrize("end", [lambda server: None, lambda server: server.set(ABORTED)])
def test_an_honest_job_and_its_end(server: Server, end: Callable[[Server], None]) -> None:
    run_in_full(server)
    end(server)
    assert server.status() == "FINISHED:COMPLETED"
    job = server.manager.get_job(server.job_id, server.context)
    assert job is not None
    assert job.meta["job_deploy_detail"] == ["server: OK"]
    assert job.meta["duration"] != "N/A"


@pytest.mark.threat("T-11")
def test_a_bomb_is_not_stored_and_so_never_unzipped(server: Server, flares: Server, tmp_path: Path) -> None:
    bomb, same = tmp_path / "bomb.zip", tmp_path / "same.zip"  # the store takes the file away
    for path in (bomb, same):
        path.write_bytes(zipped(bytes(50_000_000)))
    assert bomb.stat().st_size < 100_000
    stored = flares.manager.create({}, str(same), flares.context)
    folder = flares.manager._load_job_data_from_store(
        flares.manager.get_job(stored[JobMetaKey.JOB_ID.value], flares.context), str(tmp_path), flares.context
    )
    assert (Path(folder) / "job" / "meta.json").stat().st_size == 50_000_000, "the attack: FLARE unzips it"
    before = sorted((tmp_path / "ours").rglob("*"))
    with pytest.raises(PolicyViolation, match="larger than any job"):
        server.manager.create({}, str(bomb), server.context)
    assert sorted((tmp_path / "ours").rglob("*")) == before != []


def test_what_is_no_zip_is_not_stored(server: Server) -> None:
    with pytest.raises(PolicyViolation, match="not a readable zip"):
        server.manager.create({}, b"PK", server.context)
