"""Who on a site's machine reaches the listener that its parent process has for its job processes.

The attacker is another Unix user, `nobody`. The site's folder is open to him here, so that nothing but the
private folder stands between him and the socket.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.integration.attacker import NO_JOBS, SITE
from tests.integration.conftest import make_consortium

from almoner.flare.commands.federation import Federation
from almoner.flare.processes.internal_socket import socket_path

HOOKS = {"PYTHONPATH": str(Path(__file__).parent / "hooks")} | NO_JOBS
PYTHON = shutil.which("python3", path="/usr/bin:/bin")
CONNECT = """
import socket, sys
family, address = sys.argv[1:]
end = socket.socket(socket.AF_UNIX if family == "unix" else socket.AF_INET)
end.settimeout(60)
try:
    end.connect(address if family == "unix" else ("127.0.0.1", int(address)))
    end.sendall(bytes(16))
except OSError as error:
    sys.exit(type(error).__name__)
sys.exit("accepted")
"""

pytestmark = [
    pytest.mark.threat("T-14"),
    pytest.mark.skipif(os.geteuid() != 0 or PYTHON is None, reason="becoming another user takes root and his Python"),
]


@pytest.fixture(scope="module")
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def federation(transport: str, root: Path) -> Iterator[Federation]:
    folder = Path(tempfile.mkdtemp(prefix="almoner-"))  # pytest's own folders are closed to other users
    try:
        consortium = make_consortium(root, folder / "heart")
        home = consortium.site_folder(SITE)
        for path in (consortium.root / "server", home, *home.parents):
            if path.is_relative_to(folder):
                path.chmod(0o755)
        with Federation(consortium, HOOKS | ({"ALMONER_TEST_TCP": "1"} if transport == "tcp" else {})) as running:
            running.start_one("server")
            running.start_one(SITE)
            running.wait_for_sites((SITE,))
            yield running
    finally:
        shutil.rmtree(folder)


def nobody_connects(family: str, address: str) -> str:
    """Connect as another user; return what came of it."""
    command = [str(PYTHON), "-I", "-c", CONNECT, family, address]
    return subprocess.run(
        command,
        user="nobody",
        group="nogroup",
        extra_groups=[],
        capture_output=True,
        text=True,
        cwd="/",
        timeout=120,
        check=False,
    ).stderr.strip()


def tcp_listeners(federation: Federation) -> set[int]:
    """Return the ports at which any process of the federation listens."""
    parents = [psutil.Process(process.pid) for process in federation._processes.values()]
    family = [member for parent in parents for member in (parent, *parent.children(recursive=True))]
    found = [entry for member in family for entry in member.net_connections("inet")]
    return {entry.laddr.port for entry in found if entry.status == psutil.CONN_LISTEN}


@pytest.mark.parametrize("transport", ["tcp"], indirect=True, scope="module")
def test_another_user_at_flares_own_listener(federation: Federation) -> None:
    """The attack: clear TCP, at the server and at the site."""
    internal = tcp_listeners(federation) - {federation.consortium.port}
    assert len(internal) == 2
    assert {nobody_connects("tcp", str(port)) for port in internal} == {"accepted"}


@pytest.mark.parametrize("transport", ["socket"], indirect=True, scope="module")
def test_another_user_at_the_socket(federation: Federation) -> None:
    assert tcp_listeners(federation) == {federation.consortium.port}
    for home in (federation.consortium.root / "server", federation.consortium.site_folder(SITE)):
        path = socket_path(home)
        assert path.is_socket()
        assert nobody_connects("unix", str(path)) == "PermissionError"


@pytest.mark.parametrize("transport", ["socket"], indirect=True, scope="module")
def test_the_private_folder_is_what_keeps_him_out(federation: Federation) -> None:
    path = socket_path(federation.consortium.site_folder(SITE))
    path.chmod(0o666)
    path.parent.chmod(0o755)
    try:
        assert nobody_connects("unix", str(path)) == "accepted"
    finally:
        path.parent.chmod(0o700)
