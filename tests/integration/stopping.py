"""Stops cells of the test's own process, where FLARE's own stop would wait for ever for a connection that it missed."""

import contextlib
import threading

from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.communicator import Communicator


def stop(what: CoreCell | Communicator) -> None:
    """Stop a cell or a bare communicator, and forget the cell's name.

    FLARE closes the connections that it has listed, and then waits for the threads that read them. A connector that
    is just connecting lists its connection after that, so the connections of stopped connectors are closed again
    until FLARE is done. What FLARE raises meanwhile concerns no test.
    """
    communicator = what.communicator if isinstance(what, CoreCell) else what
    thread = threading.Thread(target=_stop_quietly, args=(what,), daemon=True)
    try:
        thread.start()
        while thread.is_alive():
            _close_again(communicator)
            thread.join(0.1)
    finally:
        if isinstance(what, CoreCell):
            CoreCell.ALL_CELLS.pop(what.get_fqcn(), None)


def _stop_quietly(what: CoreCell | Communicator) -> None:
    with contextlib.suppress(Exception):
        what.stop()


def _close_again(communicator: Communicator) -> None:
    """Close what stopped connectors have connected since; the others may still have a goodbye to say."""
    for connector in list(communicator.conn_manager.connectors.values()):
        if connector.stopped.is_set():
            with contextlib.suppress(Exception):
                connector.driver.close_all()
