"""The gate: default-deny on every FLARE channel, topic and command, in both processes of a site.

FLARE's server forwards any logged-in sender's message to any site, and sites check neither sender nor right:
`sys.shell` reads any file, `train.delete_run` deletes folders, `__do_task__` re-drives a job, a `CONN_URL`
header makes a site dial out. The gate lets in what an honest job needs (`PARENT`, `JOB`, `ADMIN_TOPICS`) and
drops the rest, unanswered or with one fixed code. No rule rests on who sends: a sender's name can be forged.

It is installed by our own entry points before any cell exists, and stands before all other filters whatever
these register: FLARE asks only the filters of the most specific key, which would leave a filter on "*" out.

Mitigates: T-14.
"""

import logging
from collections.abc import Callable
from typing import Any, Literal

from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, MessageType, ReturnCode
from nvflare.fuel.f3.cellnet.registry import Callback, Registry
from nvflare.fuel.f3.cellnet.utils import make_reply
from nvflare.fuel.f3.message import Message
from nvflare.fuel.f3.streaming.stream_const import STREAM_CHANNEL, STREAM_DATA_TOPIC, StreamHeaderKey
from nvflare.private.fed.client.admin_commands import AdminCommands
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors

logger = logging.getLogger(__name__)

Process = Literal["parent", "job"]

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

BYE = ("cellnet.channel", "bye")
RETURN_CHANNEL = "return_only"
"""Streamed replies; FLARE matches them to waiting requests of this process."""

PARENT = frozenset({BYE})
JOB = frozenset({BYE, ("aux_communication", "__end_run__"), *(("client_command", name) for name in JOB_COMMANDS)})


class Gate:
    """Decides about each message that reaches one cell.

    Args:
        name: the cell's own fully qualified name.
        process: which of the two processes the cell is in.
    """

    def __init__(self, name: str, process: Process) -> None:
        self._name, self._process = name, process
        self._allowed = PARENT if process == "parent" else JOB

    def admit(self, message: Message) -> Message | None:
        """Return None to let a message in, or the reply that stops it."""
        message.remove_header(MessageHeaderKey.CONN_URL)
        channel, topic = (
            str(message.get_header(MessageHeaderKey.CHANNEL, "")),
            message.get_header(MessageHeaderKey.TOPIC, ""),
        )
        destination = str(message.get_header(MessageHeaderKey.DESTINATION, ""))
        if destination != self._name:
            return None if self._is_own_child(destination) else self._refuse(channel, topic)
        if channel == STREAM_CHANNEL:
            if topic != STREAM_DATA_TOPIC:
                return None  # acknowledgements and errors of streams that this process sends
            channel = str(message.get_header(StreamHeaderKey.CHANNEL, ""))
            topic = message.get_header(StreamHeaderKey.TOPIC, "")
            if channel == RETURN_CHANNEL:
                return None
        elif message.get_header(MessageHeaderKey.MSG_TYPE) != MessageType.REQ:
            return None  # replies are matched to waiting requests
        return None if self._is_allowed(channel, topic, message.payload) else self._refuse(channel, topic)

    def _is_own_child(self, destination: str) -> bool:
        """Tell whether a message is for a job process of this site, whose own gate decides."""
        return self._process == "parent" and destination.startswith(self._name + ".")

    def _is_allowed(self, channel: str, topic: object, payload: Any) -> bool:
        """Tell whether a request is on the list; FLARE dispatches admin requests by the payload's topic."""
        if channel == ADMIN_CHANNEL and self._process == "parent":
            inner = getattr(payload, "topic", None)
            return inner is None or inner in ADMIN_TOPICS  # not decoded yet: the request filter asks again
        return (channel, topic) in self._allowed

    def _refuse(self, channel: str, topic: object) -> Message:
        """Log and return the one reply that stops a message."""
        logger.warning("gate: refused %s:%s", _printable(channel), _printable(str(topic)))
        reply: Message = make_reply(ReturnCode.INVALID_REQUEST)
        return reply


def _printable(text: str) -> str:
    """Return what may stand in a log line of what a stranger sent."""
    return "".join(char if char.isprintable() else "?" for char in text)[:80]


class GatedRegistry(Registry):  # type: ignore[misc]
    """A filter registry that always finds the gate first, then what FLARE would find."""

    def __init__(self, gate: Callable[[Message], Message | None]) -> None:
        super().__init__()
        self._gate = Callback(gate, [], {})

    def find(self, channel: str, topic: str) -> list[Any]:
        """Return the filters for a message."""
        return [self._gate, *(super().find(channel, topic) or [])]


def install(process: Process) -> None:
    """Put the gate before every cell that this process will create, and trim what FLARE would dispatch to."""
    trim_commands()
    original = CoreCell.__init__

    def gated(self: Any, fqcn: str, *args: Any, **kwargs: Any) -> None:
        original(self, fqcn, *args, **kwargs)
        gate = Gate(self.get_fqcn(), process).admit
        self.in_filter_reg = GatedRegistry(gate)
        self.in_req_filter_reg = GatedRegistry(gate)

    CoreCell.__init__ = gated


def trim_commands() -> None:
    """Remove every request processor and job command that an honest job does not need."""
    ClientRequestProcessors.request_processors[:] = [
        processor
        for processor in ClientRequestProcessors.request_processors
        if set(processor.get_topics()) <= ADMIN_TOPICS
    ]
    AdminCommands.commands[:] = [
        command for command in AdminCommands.commands if command.get_command_name() in JOB_COMMANDS
    ]
