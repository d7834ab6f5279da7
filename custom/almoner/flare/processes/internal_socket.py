"""Lets job processes reach their parent through a Unix socket that no other user can open.

FLARE's own listener for job processes is clear TCP on localhost, which every user of the machine can connect to.
This transport listens at a socket in the participant's private folder instead. FLARE uses it because `environment`
names its scheme. The address holds no path: whoever makes FLARE dial one cannot choose the socket.

What is left: processes of the participant's own user, and root, can connect; `local_listener` binds their names.

Mitigates: T-14.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

from nvflare.fuel.f3 import communicator
from nvflare.fuel.f3.drivers.base_driver import BaseDriver
from nvflare.fuel.f3.drivers.connector_info import ConnectorInfo
from nvflare.fuel.f3.drivers.driver_params import DriverCap
from nvflare.fuel.f3.drivers.socket_conn import ConnectionHandler, SocketConnection

from almoner.flare.processes.environment import HOME_VARIABLE, INTERNAL_SCHEME
from almoner.flare.site.private_folder import private_folder

ADDRESS = f"{INTERNAL_SCHEME}://parent"
"""The one address of this transport."""

_SOCKET = "jobs.sock"


def socket_path(home: Path) -> Path:
    """Return where a participant's parent process listens for its job processes."""
    return private_folder(home) / _SOCKET


def _own_socket() -> str:
    """Return this participant's socket, as seen from the working directory if that is shorter (108 bytes at most)."""
    path = str(socket_path(Path(os.environ[HOME_VARIABLE])))
    return min(path, os.path.relpath(path), key=len)


class _Server(ThreadingUnixStreamServer):
    """Accepts job processes; FLARE's handler reads `driver`, `connector` and `ssl_context`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, driver: "UnixSocketDriver", connector: ConnectorInfo) -> None:
        self.driver, self.connector, self.ssl_context = driver, connector, None
        super().__init__(_own_socket(), ConnectionHandler)


class UnixSocketDriver(BaseDriver):  # type: ignore[misc]
    """FLARE transport through the participant's own Unix socket."""

    def __init__(self) -> None:
        super().__init__()
        self._server: _Server | None = None

    @staticmethod
    def supported_transports() -> list[str]:
        """Return the scheme."""
        return [INTERNAL_SCHEME]

    @staticmethod
    def capabilities() -> dict[str, Any]:
        """Return what FLARE may use: heartbeats, no TLS."""
        return {DriverCap.SEND_HEARTBEAT.value: True, DriverCap.SUPPORT_SSL.value: False}

    @staticmethod
    def get_urls(scheme: str, resources: dict[str, Any]) -> tuple[str, str]:
        """Return the address to connect to and the one to listen on, which are the same."""
        return ADDRESS, ADDRESS

    def listen(self, connector: ConnectorInfo) -> None:
        """Accept connections until `shutdown`; a socket that an earlier process left is replaced."""
        self.connector = connector
        with suppress(FileNotFoundError):
            os.unlink(_own_socket())  # noqa: PTH108 - the path may be relative to save length
        self._server = _Server(self, connector)
        self._server.serve_forever()

    def connect(self, connector: ConnectorInfo) -> None:
        """Connect, and read until the connection is closed."""
        self.connector = connector
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            end.connect(_own_socket())
        except OSError:
            end.close()
            raise
        connection = SocketConnection(end, connector)
        self.add_connection(connection)
        connection.read_loop()
        self.close_connection(connection)

    def shutdown(self) -> None:
        """Close all connections and stop listening."""
        self.close_all()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def install() -> None:
    """Make the transport known to FLARE in this process; before any cell exists."""
    communicator.driver_mgr.register(UnixSocketDriver)
