"""Which job a kit submitted is kept in the kit, and found again; what the server calls a job is no path."""

from pathlib import Path

import pytest
from flare_cases import JOB_ID, envelope

from almoner.errors import FederationError
from almoner.flare.commands.session import UserSession
from almoner.flare.door.render import render_job
from almoner.flare.results.origin import KnownJob, exported_job, make_room, remember, submitted_job
from almoner.schema.base import digest


class Server:
    """FLARE's session with a server that gives jobs an id of its choice."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id

    def submit_job(self, folder: str) -> str:
        return self.job_id


def exported(folder: Path) -> Path:
    for name, content in render_job(envelope()).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_submitted_job_is_found_again(tmp_path: Path) -> None:
    job = exported(tmp_path / "job")
    assert UserSession(Server(JOB_ID), tmp_path).submit(job) == JOB_ID  # type: ignore[arg-type]
    assert submitted_job(tmp_path, JOB_ID) == exported_job(job) == KnownJob(digest(envelope()))


@pytest.mark.threat("T-162")
def test_an_id_that_is_a_path_is_refused(tmp_path: Path) -> None:
    server = Server("../startup/client.key")
    with pytest.raises(FederationError, match="not the id of a job"):
        UserSession(server, tmp_path).submit(exported(tmp_path / "job"))  # type: ignore[arg-type]
    assert not (tmp_path / "startup").exists()


def test_a_job_of_another_kit_names_the_remedy(tmp_path: Path) -> None:
    make_room(tmp_path)
    with pytest.raises(FederationError, match=r"not submitted with this kit → --job .* --of"):
        submitted_job(tmp_path, JOB_ID)


def test_a_folder_that_is_no_job(tmp_path: Path) -> None:
    with pytest.raises(FederationError, match=r"almoner_job\.json: cannot be read"):
        exported_job(tmp_path)


def test_a_kit_that_cannot_keep_it_is_found_before_anything_is_submitted(tmp_path: Path) -> None:
    (tmp_path / "submitted").write_text("")
    with pytest.raises(FederationError, match="make the kit writable"):
        UserSession(Server(JOB_ID), tmp_path).submit(exported(tmp_path / "job"))  # type: ignore[arg-type]
    with pytest.raises(FederationError, match=r"cannot be written .* keep the exported folder"):
        remember(tmp_path, JOB_ID, KnownJob("0" * 64))
