"""Runs a whole provisioned consortium on this machine: one process for the server, one for each site."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import psutil

from almoner.errors import FederationError
from almoner.flare.commands.session import open_session
from almoner.flare.kits.provisioning import ProvisionedConsortium

START_SECONDS = 60.0
STOP_SECONDS = 15.0
PROCESS_LOG = "process_log.txt"


def free_port() -> int:
    """Return a TCP port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_free_port(port: int) -> None:
    """Check that nothing listens on a port.

    Raises:
        FederationError: something does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise FederationError(
                f"port {port}: in use by another program → stop it, or provision with another --port"
            ) from None


class Federation:
    """Server and sites as child processes. A context manager: leaving it stops all of them.

    Args:
        consortium: what to run.
        extra_environment: variables for the processes beyond this process's own, for tests.
    """

    def __init__(self, consortium: ProvisionedConsortium, extra_environment: dict[str, str] | None = None) -> None:
        self.consortium = consortium
        self._extra = extra_environment or {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Federation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, tell: Callable[[str], None]) -> None:
        """Start the server, then the sites, and wait until all are connected.

        Raises:
            FederationError: the port is busy, a process ended, or a site did not connect in time.
        """
        require_free_port(self.consortium.port)
        self.start_one("server")
        self._wait_for("the server", self._server_listens)
        tell(f"server listens on port {self.consortium.port}")
        for site in self.consortium.declarations.consortium.sites:
            self.start_one(site)
        self.wait_for_sites(self.consortium.declarations.consortium.sites)
        tell(f"{len(self.consortium.declarations.consortium.sites)} sites connected")

    def start_one(self, name: str) -> None:
        """Start the server ("server") or one site."""
        home = self._home(name)
        log = (home / PROCESS_LOG).open("ab")
        with log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-P", "-m", "almoner.flare.start", str(home / "kit")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | self._extra,
            )

    def kill(self, name: str) -> None:
        """Kill a participant and its job processes with SIGKILL, as a power cut would."""
        process = self._processes.pop(name)
        _kill_all(_family(process.pid))
        process.wait()

    def wait_for_sites(self, sites: tuple[str, ...]) -> None:
        """Wait until the server reports that these sites are connected."""
        with open_session(self._a_users_kit(), timeout_seconds=START_SECONDS) as session:
            self._wait_for("the sites", lambda: set(sites) <= set(session.sites()))

    def stop(self) -> None:
        """Stop all processes: SIGTERM, then SIGKILL to whatever is left of them and their job processes."""
        families = [member for process in self._processes.values() for member in _family(process.pid)]
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        _kill_all(families)
        self._processes.clear()

    def _a_users_kit(self) -> Path:
        """Return the kit of the administrator; without one, as where sites make their keys, any user's that is here."""
        users = sorted(self.consortium.declarations.consortium.users, key=lambda user: user.role != "project_admin")
        kits = [kit for user in users if (kit := self.consortium.user_kit(user.name)).is_dir()]
        if not kits:
            raise FederationError(f"{self.consortium.root / 'users'}: has no user's kit to ask the server with")
        return kits[0]

    def _home(self, name: str) -> Path:
        return self.consortium.root / "server" if name == "server" else self.consortium.site_folder(name)

    def _server_listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.consortium.port)) == 0

    def _wait_for(self, what: str, ready: Callable[[], bool]) -> None:
        """Poll until ready; fail at once when a process has ended."""
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise FederationError(f"{name} ended at its start: {_last_line(self._home(name) / PROCESS_LOG)}")
            if time.monotonic() > deadline:
                raise FederationError(f"{what} did not come up within {START_SECONDS:.0f} s → see {PROCESS_LOG} there")
            time.sleep(0.1)


def _family(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants; FLARE's job processes have sessions of their own."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _kill_all(processes: list[psutil.Process]) -> None:
    """Kill what still runs of these processes; psutil never hits another process with a reused id."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _last_line(log: Path) -> str:
    """Return the last line of a log, which is where a clear error stands."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return lines[-1].removeprefix("error: ") if lines else "it left no message"
