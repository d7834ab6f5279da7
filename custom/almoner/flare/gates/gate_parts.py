"""What the gates of a site and of the server share: how a message is read, refused, and judged before a cell.

A message is judged twice: `admit` on arrival, before FLARE decodes, decrypts, forwards or answers it, and
`admit_request` once it is decoded, because admin requests are dispatched by the topic inside their payload and
the items of a bulk message never arrive by themselves.

A gate stands before all other filters, whatever these register: FLARE asks only the filters of the most specific
key, which would leave a filter on "*" out.

Mitigates: T-14.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol

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

from almoner.flare.gates.gate_log import REFUSALS

Process = Literal["parent", "job"]
Way = tuple[str, str]
"""A channel and a topic."""

BYE: Way = ("cellnet.channel", "bye")
"""Answered, never acted on: FLARE would drop its connection to whoever *forwarded* it, which is the server."""

ATTEST: Way = ("cc_validation", "request_fresh_token")
"""Fresh attestation, as server and sites ask each other for it; let in only where the consortium asks for it."""

RETURN_CHANNEL = "return_only"
"""Streamed replies; each names the request that it answers."""

STREAM_SIGNALS = frozenset({STREAM_ACK_TOPIC, STREAM_ERROR_TOPIC})
"""Acknowledgements and errors of streams that this process sends; FLARE drops those of unknown streams."""

IsAwaited = Callable[[str], bool]
"""Tells whether this process waits for the reply to a request of that id."""


class Judge(Protocol):
    """A gate: both methods return None to let a message in, or a reply that stops it."""

    def admit(self, message: Message) -> Message | None:
        """Judge a message on arrival; FLARE sends no reply."""

    def admit_request(self, message: Message) -> Message | None:
        """Judge a decoded request that FLARE is about to dispatch; FLARE sends the reply."""


def text(message: Message, header: str) -> str:
    """Return a header that should be text; "?" for what is not, which is on no list."""
    value = message.get_header(header, "")
    return value if isinstance(value, str) else "?"


def way_of(message: Message) -> Way:
    """Return a message's channel and topic."""
    return text(message, MessageHeaderKey.CHANNEL), text(message, MessageHeaderKey.TOPIC)


def stream_way(message: Message) -> Way:
    """Return the channel and topic that a stream wraps."""
    return text(message, StreamHeaderKey.CHANNEL), text(message, StreamHeaderKey.TOPIC)


def wants_certificates(message: Message) -> bool:
    """Tell whether FLARE would ask the cell that the sender names for its certificate, and wait for it."""
    return bool(message.get_header(MessageHeaderKey.SECURE) or message.get_header(MessageHeaderKey.ENCRYPTED))


def is_request(message: Message) -> bool:
    """Tell a request from a reply or a returned request."""
    return bool(message.get_header(MessageHeaderKey.MSG_TYPE) == MessageType.REQ)


def is_any_awaited(answered: object, is_awaited: IsAwaited) -> bool:
    """Tell whether a reply names a request of this process; FLARE writes one id or a list."""
    ids = answered if isinstance(answered, list) else [answered]
    return any(isinstance(one, str) and is_awaited(one) for one in ids)


def is_listed(message: Message, requests: frozenset[Way], streams: frozenset[Way], is_awaited: IsAwaited) -> bool:
    """Tell whether a request or a piece of a stream is on the lists.

    Args:
        message: what has arrived.
        requests: what may come as one message.
        streams: what may come in a stream, whose real channel and topic are in the stream's own headers.
        is_awaited: for streamed replies.
    """
    channel, topic = way_of(message)
    if channel != STREAM_CHANNEL:
        return (channel, topic) in requests
    if topic != STREAM_DATA_TOPIC:
        return topic in STREAM_SIGNALS
    way = stream_way(message)
    if way[0] == RETURN_CHANNEL:
        return is_any_awaited(message.get_header(StreamHeaderKey.STREAM_REQ_ID), is_awaited)
    return way in streams


def refuse(message: Message, topic: object = None) -> Message:
    """Log and return the one reply that stops a message; `topic` is that of an admin request's payload."""
    names = [*way_of(message), *stream_way(message), topic if isinstance(topic, str) else ""]
    REFUSALS.write(names)
    reply: Message = make_reply(ReturnCode.INVALID_REQUEST)
    return reply


def answer_goodbye(message: Message) -> Message | None:
    """Return the answer to a goodbye; None for all else."""
    goodbye: Message | None = make_reply(ReturnCode.OK) if way_of(message) == BYE else None
    return goodbye


class GatedRegistry(Registry):  # type: ignore[misc]
    """A filter registry that always finds the gate first, then what FLARE would find."""

    def __init__(self, gate: Callable[[Message], Message | None]) -> None:
        super().__init__()
        self._gate = Callback(gate, [], {})

    def find(self, channel: str, topic: str) -> list[Any]:
        """Return the filters for a message."""
        return [self._gate, *(super().find(channel, topic) or [])]


def guard(cell: CoreCell, make_gate: Callable[[str, IsAwaited], Judge]) -> None:
    """Put a gate before one cell.

    Args:
        cell: FLARE's cell.
        make_gate: makes the gate for the cell's fully qualified name.
    """

    def is_awaited(request_id: str) -> bool:
        streaming = cell.fobs_ctx.get(FOBSContextKey.CELL)  # the cell around this one, which waits for streams
        return request_id in cell.waiters or (streaming is not None and request_id in streaming.requests_dict)

    gate = make_gate(cell.get_fqcn(), is_awaited)
    cell.in_filter_reg = GatedRegistry(gate.admit)
    cell.in_req_filter_reg = GatedRegistry(gate.admit_request)


def guard_every_cell(make_gate: Callable[[str, IsAwaited], Judge]) -> None:
    """Put a gate before every cell that this process will create."""
    original = CoreCell.__init__

    def gated(self: Any, fqcn: str, *args: Any, **kwargs: Any) -> None:
        original(self, fqcn, *args, **kwargs)
        guard(self, make_gate)

    CoreCell.__init__ = gated
