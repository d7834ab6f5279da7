"""Guards the names that connect to a site from inside: only its own job processes.

A site's parent process listens on localhost, in clear, for its job processes. FLARE lets whoever connects there
take any name, the server's too; the site then drops its mutually authenticated connection for the new one and
sends it heartbeats with its token. Here a connection that the site *accepts* must bear a name below the site's own.

What is left: a local user can take the name of a job process. Give a site a machine, or a Unix user and network
namespace, of its own.

Mitigates: T-14.
"""

import logging
from typing import Any

from nvflare.fuel.f3.comm_error import CommError
from nvflare.fuel.f3.drivers.connector_info import Mode
from nvflare.fuel.f3.sfm.conn_manager import ConnManager
from nvflare.fuel.f3.sfm.constants import HandshakeKeys

logger = logging.getLogger(__name__)


def is_own_job(site: str, name: object) -> bool:
    """Tell whether a name that a connecting process gives is one of the site's job processes."""
    return isinstance(name, str) and name.startswith(f"{site}.") and len(name) > len(site) + 1


def install() -> None:
    """Check the name at every handshake of a connection that this process has accepted."""
    original = ConnManager.update_endpoint

    def checked(self: Any, sfm_conn: Any, data: dict[str, Any]) -> None:
        passive = sfm_conn.conn.connector.mode == Mode.PASSIVE
        if passive and not is_own_job(self.local_endpoint.name, data.get(HandshakeKeys.ENDPOINT_NAME)):
            logger.warning("gate: refused a local connection under a name that is no job's")
            sfm_conn.conn.close()
            raise CommError(CommError.BAD_DATA, "not a job process of this site")
        original(self, sfm_conn, data)

    ConnManager.update_endpoint = checked
