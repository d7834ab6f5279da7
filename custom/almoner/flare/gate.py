"""The gate: default-deny on every FLARE channel, topic and command, in both processes of a site.

FLARE's server forwards any logged-in sender's message to any site, and sites check neither sender nor right:
`sys.shell` reads any file, `train.delete_run` deletes folders, `__do_task__` re-drives a job, a `CONN_URL`
header makes a site dial out. The gate lets in what an honest job needs (`REQUESTS`, `STREAMS`, `ADMIN_TOPICS`)
and stops the rest, unanswered on arrival or with one fixed code. No rule rests on who sends: a sender's name
can be forged. `gate_census.py` lists every way in that FLARE registers, with the verdict on each.

A message is judged twice: `admit` on arrival, before FLARE decodes, decrypts, forwards or answers it, and
`admit_request` once it is decoded, because admin requests are dispatched by the topic inside their payload and
the items of a bulk message never arrive by themselves.

It is installed by our own entry points before any cell exists, and stands before all other filters whatever
these register: FLARE asks only the filters of the most specific key, which would leave a filter on "*" out.

Mitigates: T-14.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal

from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, MessageType, ReturnCode
from nvflare.fuel.f3.cellnet.registry import Callback, Registry
from nvflare.fuel.f3.cellnet.utils import make_reply
from nvflare.fuel.f3.message import Message
from nvflare.fuel.f3.streaming.stream_const import (
    STREAM_ACK_TOPIC,
    STREAM_CHANNEL,
    STREAM_DATA_TOPIC,
    STREAM_ERROR_TOPIC,
    StreamHeaderKey,
)
from nvflare.fuel.utils.fobs import FOBSContextKey
from nvflare.private.admin_defs import Message as AdminMessage
from nvflare.private.fed.client.admin_commands import AdminCommands
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors

from almoner.flare import local_listener
from almoner.flare.deploy_processor import BoundedDeployProcessor

logger = logging.getLogger(__name__)

Process = Literal["parent", "job"]
Way = tuple[str, str]
"""A channel and a topic."""

ADMIN_CHANNEL = "admin"
ADMIN_TOPICS = frozenset(
    {
        "train.deploy",
        "train.start_job",
        "train.abort",
        "train.abort_task",
        "train.check_status",
        "train.notify_job_status",
        "train.shutdown",
        "scheduler.check_resource",
        "scheduler.cancel_resource",
    }
)
"""What the server may ask a site's parent process; FLARE dispatches by the payload's topic."""

JOB_COMMANDS = frozenset({"abort", "abort_task", "check_status"})
"""What the parent process may ask its job process."""

BYE: Way = ("cellnet.channel", "bye")
"""Answered, never acted on: FLARE would drop its connection to whoever *forwarded* it, which is the server."""

END_RUN: Way = ("aux_communication", "__end_run__")
RETURN_CHANNEL = "return_only"
"""Streamed replies; each names the request that it answers."""

REQUESTS: Mapping[Process, frozenset[Way]] = {
    "parent": frozenset({BYE}),
    "job": frozenset({BYE, END_RUN, *(("client_command", name) for name in JOB_COMMANDS)}),
}
"""What may come as one message; in the parent process, `ADMIN_TOPICS` besides."""

STREAMS: Mapping[Process, frozenset[Way]] = {"parent": frozenset(), "job": frozenset({END_RUN})}
"""What may come in a stream, whose real channel and topic are in the stream's own headers."""

STREAM_SIGNALS = frozenset({STREAM_ACK_TOPIC, STREAM_ERROR_TOPIC})
"""Acknowledgements and errors of streams that this process sends; FLARE drops those of unknown streams."""


class Gate:
    """Decides about each message that reaches one cell.

    Args:
        name: the cell's own fully qualified name.
        process: which of the two processes the cell is in.
        is_awaited: tells whether this process waits for the reply to a request of that id.
    """

    def __init__(self, name: str, process: Process, is_awaited: Callable[[str], bool]) -> None:
        self._name, self._process, self._is_awaited = name, process, is_awaited

    def admit(self, message: Message) -> Message | None:
        """Judge a message on arrival.

        *Guarantee*: never raises; a request to this cell that is not on the list, a reply that nobody waits for,
        and a message to anybody but this cell and its own job processes are stopped before FLARE decodes them.

        Returns:
            None to let the message in; a reply, which FLARE does not send, to drop it.
        """
        message.remove_header(MessageHeaderKey.CONN_URL)
        destination = message.get_header(MessageHeaderKey.DESTINATION)
        if destination != self._name:
            return None if self._is_own_child(destination) else self._refuse(message)
        if message.get_header(MessageHeaderKey.SECURE) or message.get_header(MessageHeaderKey.ENCRYPTED):
            return self._refuse(message)  # FLARE would ask the cell that the sender names for its certificate
        if message.get_header(MessageHeaderKey.MSG_TYPE) != MessageType.REQ:
            answered = message.get_header(MessageHeaderKey.REQ_ID)
            return None if self._is_any_awaited(answered) else self._refuse(message)
        if self._is_for_admin(message):
            return None  # the topic that counts is in the payload, which is not decoded yet
        return None if self._is_listed(message) else self._refuse(message)

    def admit_request(self, message: Message) -> Message | None:
        """Judge a decoded request that FLARE is about to dispatch.

        *Guarantee*: never raises; nothing but a request on the list gets through.

        Returns:
            None to let the request in; else the reply that FLARE sends.
        """
        if self._is_for_admin(message):
            payload = message.payload
            topic = payload.topic if isinstance(payload, AdminMessage) else None
            allowed = isinstance(topic, str) and topic in ADMIN_TOPICS
            return None if allowed else self._refuse(message, topic)
        if not self._is_listed(message):
            return self._refuse(message)
        goodbye: Message | None = make_reply(ReturnCode.OK) if _way(message) == BYE else None
        return goodbye

    def _is_own_child(self, destination: object) -> bool:
        """Tell whether a message is for a job process of this site, whose own gate decides."""
        return self._process == "parent" and isinstance(destination, str) and destination.startswith(f"{self._name}.")

    def _is_any_awaited(self, answered: object) -> bool:
        """Tell whether a reply names a request of this process; FLARE writes one id or a list."""
        ids = answered if isinstance(answered, list) else [answered]
        return any(isinstance(one, str) and self._is_awaited(one) for one in ids)

    def _is_for_admin(self, message: Message) -> bool:
        """Tell whether a request is for the admin agent, which the parent process alone has."""
        return self._process == "parent" and message.get_header(MessageHeaderKey.CHANNEL) == ADMIN_CHANNEL

    def _is_listed(self, message: Message) -> bool:
        """Tell whether a request or a piece of a stream is on the list."""
        channel, topic = _way(message)
        if channel != STREAM_CHANNEL:
            return (channel, topic) in REQUESTS[self._process]
        if topic != STREAM_DATA_TOPIC:
            return topic in STREAM_SIGNALS
        way = _stream_way(message)
        if way[0] == RETURN_CHANNEL:
            return self._is_any_awaited(message.get_header(StreamHeaderKey.STREAM_REQ_ID))
        return way in STREAMS[self._process]

    def _refuse(self, message: Message, topic: object = None) -> Message:
        """Log and return the one reply that stops a message."""
        names = [*_way(message), *_stream_way(message), topic if isinstance(topic, str) else ""]
        logger.warning("gate: refused %s", ":".join(_printable(name) for name in names if name))
        reply: Message = make_reply(ReturnCode.INVALID_REQUEST)
        return reply


def _way(message: Message) -> Way:
    """Return a message's channel and topic; what is not text is on no list and becomes "?"."""
    return _text(message, MessageHeaderKey.CHANNEL), _text(message, MessageHeaderKey.TOPIC)


def _stream_way(message: Message) -> Way:
    """Return the channel and topic that a stream wraps."""
    return _text(message, StreamHeaderKey.CHANNEL), _text(message, StreamHeaderKey.TOPIC)


def _text(message: Message, header: str) -> str:
    """Return a header that should be text."""
    value = message.get_header(header, "")
    return value if isinstance(value, str) else "?"


def _printable(text: str) -> str:
    """Return what may stand in a log line of what a stranger sent."""
    return "".join(char if char.isprintable() else "?" for char in text[:80])


class GatedRegistry(Registry):  # type: ignore[misc]
    """A filter registry that always finds the gate first, then what FLARE would find."""

    def __init__(self, gate: Callable[[Message], Message | None]) -> None:
        super().__init__()
        self._gate = Callback(gate, [], {})

    def find(self, channel: str, topic: str) -> list[Any]:
        """Return the filters for a message."""
        return [self._gate, *(super().find(channel, topic) or [])]


def guard(cell: CoreCell, process: Process) -> None:
    """Put the gate before one cell."""

    def is_awaited(request_id: str) -> bool:
        streaming = cell.fobs_ctx.get(FOBSContextKey.CELL)  # the cell around this one, which waits for streams
        return request_id in cell.waiters or (streaming is not None and request_id in streaming.requests_dict)

    gate = Gate(cell.get_fqcn(), process, is_awaited)
    cell.in_filter_reg = GatedRegistry(gate.admit)
    cell.in_req_filter_reg = GatedRegistry(gate.admit_request)


def install(process: Process) -> None:
    """Put the gate before every cell that this process will create, and trim what FLARE would dispatch to."""
    trim_commands()
    local_listener.install()
    original = CoreCell.__init__

    def gated(self: Any, fqcn: str, *args: Any, **kwargs: Any) -> None:
        original(self, fqcn, *args, **kwargs)
        guard(self, process)

    CoreCell.__init__ = gated


def trim_commands() -> None:
    """Remove every request processor and job command that an honest job does not need."""
    ClientRequestProcessors.request_processors[:] = [
        BoundedDeployProcessor() if processor.get_topics() == ["train.deploy"] else processor
        for processor in ClientRequestProcessors.request_processors
        if set(processor.get_topics()) <= ADMIN_TOPICS
    ]
    AdminCommands.commands[:] = [
        command for command in AdminCommands.commands if command.get_command_name() in JOB_COMMANDS
    ]
