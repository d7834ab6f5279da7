"""The bytes that server and sites exchange: one immutable `bytes` value a message, strictly parsed.

A task carries a JSON header (what is to be done; nothing in it is secret) and a body. A reply carries a
fixed-size binary header and a body whose length is fixed by kind, scheme and dimension: nothing about a
reply but its body can depend on data.

Replies: SETUP (the site's signed consent, the ledger heads that it holds of others, the size up to which it knows the
server's log, and the digest of its signed decision), HEAD (its own signed ledger head), COSIGNATURE (over the heads of
all), UPDATE (the protected update of a round), RELEASE (the noised accuracy histogram), MODEL (the final weights), LOG
(a cosignature of the server's log), STATISTICS (a site's noised statistics), TOTAL (the noised sum of all sites'
statistics, opened), PSI_LIST, PSI_LIST_AGAIN and PSI_MARKS (an alignment's sealed boxes, padded to the cap),
PSI_LEARNT (nothing), PSI_SIZE (the noised number from the leader, zeros from the others), REFUSAL (always empty: the
one answer to every failure). What touches no data: PSI_KEYS; and what the protection itself says: DRAW_COMMITMENTS,
DRAW_DISCLOSURES and DRAW_RESULT (a hash of the study's groups) where sites form groups, KEYS, CONFIRMATION, AGREEMENT
and CONCLUSION at its set-up, ACKNOWLEDGEMENT and SHARES (of masks) in a round. What touched data has the ledger's
signed head behind its body, and what stands in the job's result the site's voucher behind that.
"""

import json
import struct
from enum import IntEnum
from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints, ValidationError

from almoner.errors import ProtocolError
from almoner.privacy.heads import HEAD_BYTES
from almoner.protection.scheme import Task
from almoner.protection.vouchers import VOUCHER_BYTES, Vouched
from almoner.schema.base import Model, Name, canonical_json

PAYLOAD_KEY = "almoner"
"""The one key of a FLARE Shareable that carries our bytes."""

_REPLY_HEADER = struct.Struct("<4sBIQ")
_TASK_HEADER = struct.Struct("<4sI")
_MAGIC = b"ALM1"
_MAX_TASK_HEADER_BYTES = 1_000_000

TaskKind = Literal[
    "setup",
    "heads",
    "cosign",
    "draw-commit",
    "draw-reveal",
    "draw-settle",
    "keys",
    "confirm",
    "agree",
    "conclude",
    "train",
    "acknowledge",
    "reveal",
    "release",
    "model",
    "log",
    "statistics",
    "total",
    "psi-keys",
    "psi-blind",
    "psi-exchange",
    "psi-compare",
    "psi-learn",
    "psi-size",
]
TASKS: tuple[TaskKind, ...] = get_args(TaskKind)


class ReplyKind(IntEnum):
    """What a site sends."""

    REFUSAL = 0
    SETUP = 1
    UPDATE = 2
    RELEASE = 3
    MODEL = 4
    HEAD = 5
    COSIGNATURE = 6
    KEYS = 7
    CONFIRMATION = 8
    AGREEMENT = 9
    CONCLUSION = 10
    ACKNOWLEDGEMENT = 11
    SHARES = 12
    DRAW_COMMITMENTS = 13
    DRAW_DISCLOSURES = 14
    DRAW_RESULT = 15
    LOG = 16
    STATISTICS = 20
    TOTAL = 21
    PSI_KEYS = 30
    PSI_LIST = 31
    PSI_LIST_AGAIN = 32
    PSI_MARKS = 33
    PSI_LEARNT = 34
    PSI_SIZE = 35


CHARGED = frozenset({ReplyKind.UPDATE, ReplyKind.RELEASE, ReplyKind.STATISTICS, ReplyKind.PSI_SIZE})
"""What touched data: the ledger holds its commit and digest before it leaves; the ledger's head goes with it."""

VOUCHED: dict[ReplyKind, Vouched] = {
    ReplyKind.RELEASE: "release",
    ReplyKind.MODEL: "model",
    ReplyKind.STATISTICS: "statistics",
    ReplyKind.TOTAL: "total",
    ReplyKind.PSI_SIZE: "psi_size",
}
"""What stands in a job's result: the site's voucher goes with it, last."""


def attached_bytes(kind: ReplyKind) -> tuple[int, int]:
    """Return how long the ledger's head and the voucher are that follow a reply's body; 0 where there is none."""
    return HEAD_BYTES * (kind in CHARGED), VOUCHER_BYTES * (kind in VOUCHED)


REPLY_TO: dict[Task, ReplyKind] = {
    "draw-commit": ReplyKind.DRAW_COMMITMENTS,
    "draw-reveal": ReplyKind.DRAW_DISCLOSURES,
    "draw-settle": ReplyKind.DRAW_RESULT,
    "keys": ReplyKind.KEYS,
    "confirm": ReplyKind.CONFIRMATION,
    "agree": ReplyKind.AGREEMENT,
    "conclude": ReplyKind.CONCLUSION,
    "train": ReplyKind.UPDATE,
    "acknowledge": ReplyKind.ACKNOWLEDGEMENT,
    "reveal": ReplyKind.SHARES,
}
"""The protection's questions → what answers them."""


class TaskHeader(Model):
    """What the server asks for.

    Args:
        round: 1-based round of a "train" task; rounds + 1 afterwards, 0 at set-up.
        contributors: whose updates are in the total that the body begins with; at set-up, and in "acknowledge" and
            "reveal", whose parts the body is made of. In roster order; empty if there is no body.
        ring: the sites whose offers the body of a "train" task announces after the total, in roster order; empty
            where the protection has none.
        consents: each site's signed consent, hexadecimal; in the "model" task alone.
    """

    kind: TaskKind
    round: Annotated[int, Field(ge=0, le=100_000)]
    contributors: tuple[Name, ...]
    ring: tuple[Name, ...]
    consents: dict[Name, Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})*$")]]


class Reply(Model):
    """One answer of a site."""

    kind: ReplyKind
    round: Annotated[int, Field(ge=0, le=100_000)]
    body: bytes


REFUSAL = Reply(kind=ReplyKind.REFUSAL, round=0, body=b"")


def encode_task(header: TaskHeader, body: bytes) -> bytes:
    """Encode a task for the sites."""
    text = canonical_json(header)
    return _TASK_HEADER.pack(_MAGIC, len(text)) + text + body


def decode_task(data: object) -> tuple[TaskHeader, bytes]:
    """Parse a task.

    Raises:
        ProtocolError: the value is not a task of this protocol.
    """
    if not isinstance(data, bytes) or len(data) < _TASK_HEADER.size:
        raise ProtocolError("task: not a message of this protocol")
    magic, size = _TASK_HEADER.unpack_from(data)
    start = _TASK_HEADER.size
    if magic != _MAGIC or size > min(_MAX_TASK_HEADER_BYTES, len(data) - start):
        raise ProtocolError("task: not a message of this protocol")
    try:
        header = TaskHeader.model_validate_json(json.dumps(json.loads(data[start : start + size])))
    except (ValidationError, ValueError, RecursionError):
        raise ProtocolError("task: malformed header") from None
    return header, data[start + size :]


def encode_reply(reply: Reply) -> bytes:
    """Encode a reply."""
    return _REPLY_HEADER.pack(_MAGIC, reply.kind, reply.round, len(reply.body)) + reply.body


def decode_reply(data: object) -> Reply:
    """Parse a reply; anything else than a well-formed one is a refusal's equal and raises.

    Raises:
        ProtocolError: the value is not a reply of this protocol.
    """
    if not isinstance(data, bytes) or len(data) < _REPLY_HEADER.size:
        raise ProtocolError("reply: not a message of this protocol")
    magic, kind, number, size = _REPLY_HEADER.unpack_from(data)
    body = data[_REPLY_HEADER.size :]
    if magic != _MAGIC or size != len(body) or kind not in list(ReplyKind) or number > 100_000:
        raise ProtocolError("reply: not a message of this protocol")
    return Reply(kind=ReplyKind(kind), round=number, body=body)
