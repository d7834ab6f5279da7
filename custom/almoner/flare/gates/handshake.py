"""Checks the name that a connecting process takes, at every handshake of a connection that this process accepts.

FLARE binds a name to the certificate on mutually authenticated connections, except that any certificate may bear
a console's name; on a connection in clear, as job processes make, it takes any name. A name that is in use already
moves to the new connection.

Mitigates: T-14.
"""

import logging
from collections.abc import Callable
from typing import Any

from nvflare.fuel.f3.cellnet.identity import get_param, is_mtls_connection
from nvflare.fuel.f3.comm_error import CommError
from nvflare.fuel.f3.drivers.connector_info import Mode
from nvflare.fuel.f3.drivers.driver_params import DriverParams
from nvflare.fuel.f3.sfm.conn_manager import ConnManager
from nvflare.fuel.f3.sfm.constants import HandshakeKeys

logger = logging.getLogger("almoner.flare.gates.gate")

MayBear = Callable[[str, object, str | None], bool]
"""Tells from the listening cell's name, the name given, and the certificate's common name if the listener asks for
a certificate (else None), whether a connection may bear the name."""


def certificate_name(sfm_conn: Any) -> str | None:
    """Return the common name of a peer's certificate, "" if it shows none; None where no certificate is asked for."""
    if not is_mtls_connection(sfm_conn.conn.connector.params):
        return None
    name = get_param(sfm_conn.conn.get_conn_properties(), DriverParams.PEER_CN)
    return name if isinstance(name, str) else ""


def check_names(may_bear: MayBear) -> None:
    """Close every accepted connection that takes a name which it may not bear."""
    original = ConnManager.update_endpoint

    def checked(self: Any, sfm_conn: Any, data: dict[str, Any]) -> None:
        name = data.get(HandshakeKeys.ENDPOINT_NAME)
        passive = sfm_conn.conn.connector.mode == Mode.PASSIVE
        if passive and not may_bear(self.local_endpoint.name, name, certificate_name(sfm_conn)):
            logger.warning("gate: refused a connection under a name that is not its own")
            sfm_conn.conn.close()
            raise CommError(CommError.BAD_DATA, "the name is not the connection's own")
        original(self, sfm_conn, data)

    ConnManager.update_endpoint = checked
