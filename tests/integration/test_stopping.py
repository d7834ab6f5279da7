"""The stop that tests use ends where FLARE's own does not: while a connector is just connecting."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.communicator import Communicator, Mode
from nvflare.fuel.f3.connection import Connection
from nvflare.fuel.f3.drivers.base_driver import BaseDriver
from nvflare.fuel.f3.drivers.connector_info import ConnectorInfo
from nvflare.fuel.f3.endpoint import Endpoint
from nvflare.fuel.f3.stats_pool import StatsPoolManager
from tests.integration.attacker import came_true
from tests.integration.stopping import stop


class Silent(Connection):
    """A connection to a peer that says nothing."""

    def __init__(self, connector: ConnectorInfo) -> None:
        super().__init__(connector)
        self.closed = threading.Event()

    def get_conn_properties(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        self.closed.set()

    def send_frame(self, frame: bytes) -> None:
        pass


class Late(BaseDriver):
    """Lists its connection only after FLARE has stopped the connector and closed what it found listed."""

    def __init__(self) -> None:
        super().__init__()
        self.connecting, self.shut, self.connection = threading.Event(), threading.Event(), None

    @staticmethod
    def supported_transports() -> list[str]:
        return ["late"]

    @staticmethod
    def capabilities() -> dict[str, Any]:
        return {}

    @staticmethod
    def get_urls(scheme: str, resources: dict[str, Any]) -> tuple[str, str]:
        return "", ""

    def listen(self, connector: ConnectorInfo) -> None:
        raise NotImplementedError

    def connect(self, connector: ConnectorInfo) -> None:
        self.connecting.set()
        self.shut.wait()
        self.connection = Silent(connector)
        self.add_connection(self.connection)
        self.connection.closed.wait()
        self.close_connection(self.connection)

    def shutdown(self) -> None:
        self.close_all()
        self.shut.set()


@pytest.fixture
def communicator() -> Iterator[Communicator]:
    """It is about to connect."""
    pools, driver = dict(StatsPoolManager.pools), Late()
    made = Communicator(Endpoint("late"))
    made.add_connector_advanced(driver, Mode.ACTIVE, {"scheme": "late", "host": "here", "port": 1, "path": ""}, False)
    made.start()
    assert driver.connecting.wait(5.0)
    yield made
    driver.shut.set()
    came_true(lambda: driver.connection is not None, 5.0)
    driver.close_all()
    StatsPoolManager.pools = pools


def test_a_connection_that_is_made_during_the_stop(communicator: Communicator) -> None:
    thread = threading.Thread(target=stop, args=(communicator,), daemon=True)
    thread.start()
    thread.join(3.0)
    assert not thread.is_alive()
    assert communicator.stopped


def test_a_stop_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cell's name is free again then too."""

    def fail() -> None:
        raise RuntimeError("FLARE's own")

    cell = object.__new__(CoreCell)
    cell.communicator = SimpleNamespace(conn_manager=SimpleNamespace(connectors={}))
    cell.stop, cell.get_fqcn = fail, lambda: "late"
    monkeypatch.setitem(CoreCell.ALL_CELLS, "late", cell)
    stop(cell)
    assert "late" not in CoreCell.ALL_CELLS
