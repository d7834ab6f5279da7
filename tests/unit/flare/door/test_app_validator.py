"""The server's first look: a file that we do not export, or a changed one of the server's, is named in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flare_cases import Pki, envelope
from nvflare.lighter.utils import load_private_key_file, sign_folders

from almoner.flare.door.app_validator import ALLOWED_FILES, FileListValidator
from almoner.flare.door.render import render_app


@pytest.fixture
def app(tmp_path: Path, pki: Pki) -> Path:
    """A signed app as `almoner job export` and FLARE's client leave it."""
    folder = tmp_path / "app"
    for name, content in render_app(envelope()).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    sign_folders(str(folder), load_private_key_file(str(pki.key("lead"))), str(pki.certificate("lead")))
    return folder


def test_what_we_export_is_allowed_and_nothing_else_is(app: Path) -> None:
    assert set(render_app(envelope())) == ALLOWED_FILES
    assert FileListValidator().validate(str(app)) == ("", {})


def write(path: Path, content: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.threat("T-01")
@pytest.mark.parametrize(
    ("add", "named"),
    [
        (lambda app: write(app / "custom/x.py"), "custom/x.py"),
        (lambda app: write(app / "config/comm_config.json"), "config/comm_config.json"),
        (lambda app: write(app / "config/config_fed_client.conf"), "config/config_fed_client.conf"),
        (lambda app: write(app / "almoner_job.json"), "almoner_job.json"),
        (lambda app: write(app / "config/config/almoner_job.json"), "config/config/almoner_job.json"),
        (lambda app: (app / "custom").symlink_to("/etc"), "custom"),
        (lambda app: (app / "config/x").symlink_to("nowhere"), "config/x"),
    ],
)
def test_strays_are_named(app: Path, add: Callable[[Path], None], named: str) -> None:
    add(app)
    reason, properties = FileListValidator().validate(str(app))
    assert reason == f"refused by the server: files that almoner does not export: {named}"
    assert properties == {}


def test_names_cannot_break_the_line(app: Path) -> None:
    write(app / "x\nadmitted\x1b[2J")
    reason, _ = FileListValidator().validate(str(app))
    assert reason == "refused by the server: files that almoner does not export: x?admitted?[2J"


def test_many_strays_are_cut(app: Path) -> None:
    for number in range(100):
        write(app / f"stray-{number}")
    reason, _ = FileListValidator().validate(str(app))
    assert len(reason) < 300


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"almoner"', b'"{$HOME}"')),
        lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    ],
)
def test_the_servers_own_configuration_is_compared(app: Path, change: Callable[[Path], None]) -> None:
    path = app / "config" / "config_fed_server.json"
    before = path.read_bytes()
    change(path)
    assert not path.exists() or path.read_bytes() != before
    reason, _ = FileListValidator().validate(str(app))
    assert reason == "refused by the server: config/config_fed_server.json is missing or was changed after export"
