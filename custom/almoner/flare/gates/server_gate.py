"""The server's gate: default-deny on every FLARE channel and topic, in the server and in its job processes.

FLARE's server answers whoever is logged in: `_net_manager` stops cells and tells about processes, `get_clients`
hands out the tokens of a job's sites, `server_command` aborts a job. And it forwards any sender's message to
anybody. The gate lets in what each kind of participant honestly needs (`WAYS`) and forwards between the processes
of one job alone, so that no site and no console reaches another site.

Unlike at a site, rules rest on who sends. The server knows that from the connection, whose name `server_names` has
bound to its certificate; the sender named in the message must be the same, and the name beside the log-in token
must be the certificate's. A job process of the server has one connection, to the server, and takes the sender from
the message, because the server has checked it.

`server_gate_census.py` lists every way in that FLARE registers, with the verdict on each.

Mitigates: T-14.
"""

from collections.abc import Mapping
from typing import Any

from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, MessagePropKey
from nvflare.fuel.f3.message import Message
from nvflare.private.defs import AUTH_CLIENT_NAME_FOR_SJ, CellMessageHeaderKeys, ClientType

from almoner.flare.gates import gate_parts, server_names
from almoner.flare.gates.gate_parts import ATTEST, BYE, IsAwaited, Process, Way, refuse
from almoner.flare.gates.server_names import Party, job_of, party_of

SERVER = "server"
REGISTER: Way = ("task", "register")


def _ways(channel: str, *topics: str) -> frozenset[Way]:
    return frozenset((channel, topic) for topic in topics)


_LOG_IN = _ways("task", "challenge", "register")
_UPLOAD = _ways("aux_communication", "ObjectStreamer.Request", "ObjectStreamer.Abort")

WAYS: Mapping[Process, Mapping[Party, frozenset[Way]]] = {
    "parent": {
        "site": _LOG_IN | _ways("task", "heart_beat", "quit", "report_job_failure"),
        "site_job": frozenset(),
        "console": _LOG_IN
        | _UPLOAD
        | _ways("hci_channel", "command")
        | _ways("download_service__", "download_service__download"),
        "server_job": _ways("server_parent_listener", "get_clients", "heartbeat", "update_run_status"),
    },
    "job": {
        "site_job": _ways("server_command", "get_task", "submit_update")
        | _ways("aux_communication", "__sync_runner__", "__task_check__", "__job_heartbeat__"),
        "server": _ways(
            "server_command", "abort", "get_run_info", "handle_dead_job", "show_stats", "get_errors", "reset_errors"
        ),
    },
}
"""What each kind of participant may ask of a process, in one message or in a stream; goodbyes besides."""

_CLIENT_TYPES: Mapping[Party, str] = {"site": ClientType.REGULAR, "console": ClientType.ADMIN}
"""What a participant may register as."""


class ServerGate:
    """Decides about each message that reaches one cell of the server.

    Args:
        name: the cell's own fully qualified name.
        is_awaited: tells whether this process waits for the reply to a request of that id.
        attested: whether sites may ask for the server's attestation.
    """

    def __init__(self, name: str, is_awaited: IsAwaited, attested: bool = False) -> None:
        self._name, self._is_awaited, self._attested = name, is_awaited, attested
        self._process: Process = "parent" if name == SERVER else "job"

    def admit(self, message: Message) -> Message | None:
        """Judge a message on arrival.

        *Guarantee*: never raises; a message that does not come from whom it says, a request that is not on its
        sender's list, a reply that nobody waits for, and a message to anybody but this cell are stopped before FLARE
        decodes or forwards them; what the processes of one job send each other is forwarded.

        Returns:
            None to let the message in; a reply, which FLARE does not send, to drop it.
        """
        message.remove_header(MessageHeaderKey.CONN_URL)
        sender = self._sender(message)
        if sender is None or gate_parts.wants_certificates(message):
            return refuse(message)
        destination = message.get_header(MessageHeaderKey.DESTINATION)
        if destination != self._name:
            return None if self._may_relay(sender, destination) else refuse(message)
        if not gate_parts.is_request(message):
            answered = message.get_header(MessageHeaderKey.REQ_ID)
            return None if gate_parts.is_any_awaited(answered, self._is_awaited) else refuse(message)
        return None if self._is_listed(sender, message) else refuse(message)

    def admit_request(self, message: Message) -> Message | None:
        """Judge a decoded request that FLARE is about to dispatch.

        *Guarantee*: never raises; nothing but a request on its sender's list gets through.

        Returns:
            None to let the request in; else the reply that FLARE sends.
        """
        sender = self._sender(message)
        listed = sender is not None and self._is_listed(sender, message)
        return gate_parts.answer_goodbye(message) if listed else refuse(message)

    def _sender(self, message: Message) -> str | None:
        """Return who sent a message, or None if that is not known for sure."""
        endpoint = message.get_prop(MessagePropKey.ENDPOINT)
        connection, origin = getattr(endpoint, "name", None), message.get_header(MessageHeaderKey.ORIGIN)
        if self._process == "job":
            return origin if connection == SERVER and isinstance(origin, str) else None
        logged_in_as = message.get_header(CellMessageHeaderKeys.CLIENT_NAME)
        own_name = message.get_prop(MessagePropKey.COMMON_NAME) or AUTH_CLIENT_NAME_FOR_SJ
        is_itself = isinstance(origin, str) and origin == connection and logged_in_as in (None, own_name)
        return origin if is_itself else None

    def _may_relay(self, sender: str, destination: Any) -> bool:
        """Tell whether a message goes between a site's and the server's process for one job."""
        kinds = {party_of(sender), party_of(destination)}
        return (
            self._process == "parent" and kinds == {"site_job", "server_job"} and job_of(sender) == job_of(destination)
        )

    def _is_listed(self, sender: str, message: Message) -> bool:
        """Tell whether a request or a piece of a stream is on its sender's list."""
        party = party_of(sender)
        if party is None or party not in WAYS[self._process] or not _registers_as_itself(party, message):
            return False
        if self._process == "job" and party == "site_job" and job_of(sender) != job_of(self._name):
            return False
        ways = WAYS[self._process][party] | ({ATTEST} if self._attested and party == "site" else frozenset())
        return gate_parts.is_listed(message, ways | {BYE}, ways, self._is_awaited)


def _registers_as_itself(party: Party, message: Message) -> bool:
    """Tell that a message is no registration, or one as the kind of participant that it comes from."""
    kind = message.get_header(CellMessageHeaderKeys.CLIENT_TYPE)
    return gate_parts.way_of(message) != REGISTER or bool(kind == _CLIENT_TYPES.get(party))


def install(attested: bool = False) -> None:
    """Check the names of all connections, and put the gate before every cell that this process will create.

    Args:
        attested: whether sites may ask for the server's attestation.
    """
    server_names.install()
    gate_parts.guard_every_cell(lambda name, is_awaited: ServerGate(name, is_awaited, attested))
