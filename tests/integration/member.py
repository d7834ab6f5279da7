"""A member of the consortium who uses his site's own certificate to send what he likes through the server."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.fl_exception import FLCommunicationError
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.apis.utils.decomposers import flare_decomposers
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.defs import IdentityChallengeKey, MessageHeaderKey
from nvflare.fuel.f3.drivers.driver_params import DriverParams
from nvflare.fuel.f3.message import Message
from nvflare.fuel.f3.stats_pool import StatsPoolManager
from nvflare.fuel.sec.authn import set_add_auth_headers_filters
from nvflare.private.defs import ClientType, new_cell_message
from nvflare.private.fed.authenticator import Authenticator
from tests.integration.attacker import came_true
from tests.integration.stopping import stop

from almoner.flare.kits.provisioning import ProvisionedConsortium


def _forget_the_way(message: Message) -> None:
    """Take away the sender's own mark at which the server would strip headers and sites check the way."""
    message.remove_header(MessageHeaderKey.SERVER_TRANSIT_REQUIRED)


LOG_IN_SECONDS, LOG_INS = 10.0, 4
"""How long the server is given for an answer of a log-in, and how many connections are tried, each a new one."""


class Member:
    """A bare cell with the credentials of a site that runs no process of ours.

    Args:
        consortium: what is attacked.
        site: whose credentials.
        name: the name that the cell takes at the server; the site's own unless given.
    """

    def __init__(self, consortium: ProvisionedConsortium, site: str, name: str | None = None) -> None:
        startup = consortium.site_folder(site) / "kit" / "startup"
        self.consortium, self.site = consortium, site
        self.files = {name: str(startup / name) for name in ("rootCA.pem", "client.crt", "client.key")}
        credentials = {
            DriverParams.CA_CERT.value: self.files["rootCA.pem"],
            DriverParams.CLIENT_CERT.value: self.files["client.crt"],
            DriverParams.CLIENT_KEY.value: self.files["client.key"],
        }
        host = consortium.declarations.consortium.server.host
        url = f"grpc://{host}:{consortium.port}"
        flare_decomposers.register()
        self.cell = Cell(name or site, url, True, credentials, auth_identity_map={"server": host})

    def log_in(self) -> None:
        """Register with the server as the site does."""
        authenticator = Authenticator(
            cell=self.cell,
            project_name=self.consortium.declarations.consortium.name,
            client_name=self.site,
            client_type=ClientType.REGULAR,
            expected_sp_identity=self.consortium.declarations.consortium.server.host,
            secure_mode=True,
            root_cert_file=self.files["rootCA.pem"],
            private_key_file=self.files["client.key"],
            cert_file=self.files["client.crt"],
            msg_timeout=LOG_IN_SECONDS,
            retry_interval=0.2,
        )
        context = FLContext()
        context.set_public_props({ReservedKey.IDENTITY_NAME: self.site})
        token, signature, ssid, _ = authenticator.authenticate(shared_fl_ctx=context, abort_signal=Signal())
        set_add_auth_headers_filters(self.cell, self.site, token, signature, ssid)
        self.cell.core_cell.add_outgoing_request_filter("*", "*", _forget_the_way)

    def raw(
        self,
        channel: str,
        topic: str,
        payload: object,
        target: str,
        seconds: float = 8.0,
        headers: dict[str, Any] | None = None,
    ) -> Any:
        """Send one message; return the answer's payload, None if there is none."""
        message, cell = new_cell_message(headers or {}, payload), self.cell.core_cell
        return cell.send_request(channel=channel, target=target, topic=topic, request=message, timeout=seconds).payload

    def is_heard(self, seconds: float) -> bool:
        """Tell whether the server answers the first question of a log-in, which takes no token."""
        headers = {IdentityChallengeKey.NONCE: str(uuid.uuid4()), IdentityChallengeKey.COMMON_NAME: self.site}
        return self.raw("task", "challenge", Shareable(), "server", seconds, headers) is not None


@contextmanager
def member(consortium: ProvisionedConsortium, site: str, name: str | None = None) -> Iterator[Member]:
    """Connect as a member, or fail to within some seconds; the caller logs in.

    He leaves without a goodbye: at one, FLARE's server forgets the way to his name, and does not find it again for a
    new connection that is there before it has seen the end of the old one. It then answers, but forwards him nothing.
    """
    pools = dict(StatsPoolManager.pools)  # FLARE keeps tables of the process, in which a name may occur once
    intruder = Member(consortium, site, name)
    core = intruder.cell.core_cell
    try:
        intruder.cell.start()
        came_true(lambda: "server" in core.agents, 5.0)
        yield intruder
    finally:
        core.agents.clear()  # the cell says goodbye to these
        try:
            stop(core)
        finally:
            StatsPoolManager.pools = pools


@contextmanager
def logged_in(consortium: ProvisionedConsortium, site: str) -> Iterator[Member]:
    """Connect as a member and log in, on a new connection if the server sends its answer to one that is gone."""
    for left in reversed(range(LOG_INS)):
        with member(consortium, site) as intruder:
            try:
                intruder.log_in()
            except FLCommunicationError:
                if not left:
                    raise
                continue
            yield intruder
            return
