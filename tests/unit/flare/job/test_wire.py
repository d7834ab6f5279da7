"""The wire format: what is encoded is decoded, and no bytes raise anything but ProtocolError."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from almoner.errors import ProtocolError
from almoner.flare.job.wire import (
    REFUSAL,
    TASKS,
    Reply,
    ReplyKind,
    TaskHeader,
    decode_reply,
    decode_task,
    encode_reply,
    encode_task,
)

NAMES = st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,20}\Z")
HEADERS = st.builds(
    TaskHeader,
    kind=st.sampled_from(TASKS),
    round=st.integers(0, 100_000),
    contributors=st.lists(NAMES, max_size=5).map(tuple),
    ring=st.lists(NAMES, max_size=5).map(tuple),
    consents=st.dictionaries(NAMES, st.binary(max_size=20).map(bytes.hex), max_size=3),
)
REPLIES = st.builds(Reply, kind=st.sampled_from(ReplyKind), round=st.integers(0, 100_000), body=st.binary(max_size=200))


@given(HEADERS, st.binary(max_size=200))
def test_tasks_come_back(header: TaskHeader, body: bytes) -> None:
    assert decode_task(encode_task(header, body)) == (header, body)


@given(REPLIES)
def test_replies_come_back(reply: Reply) -> None:
    assert decode_reply(encode_reply(reply)) == reply


@given(REPLIES)
def test_a_replys_length_depends_on_its_bodys_length_alone(reply: Reply) -> None:
    assert len(encode_reply(reply)) == len(encode_reply(REFUSAL)) + len(reply.body)


def refused(decode: Any, data: object) -> bool:
    """Say whether decoding raises ProtocolError; other errors come through."""
    try:
        decode(data)
    except ProtocolError as error:
        return str(error).isprintable()
    return False


ANYTHING = (
    st.binary(max_size=300) | st.none() | st.integers() | st.text() | st.builds(bytearray, st.binary(max_size=40))
)


@given(ANYTHING)
def test_anything_is_a_message_or_a_protocol_error(data: object) -> None:
    for decode in (decode_task, decode_reply):
        if not isinstance(data, bytes) or not data.startswith(b"ALM1"):
            assert refused(decode, data)


@given(st.binary(max_size=200))
def test_headers_of_random_bytes_are_protocol_errors(text: bytes) -> None:
    assert refused(decode_task, b"ALM1" + struct.pack("<I", len(text)) + text)


@given(HEADERS, st.binary(max_size=30), st.data())
def test_any_changed_byte_of_a_task_is_a_message_or_a_protocol_error(
    header: TaskHeader, body: bytes, data: st.DataObject
) -> None:
    encoded = bytearray(encode_task(header, body))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    if not refused(decode_task, bytes(encoded)):
        decoded, rest = decode_task(bytes(encoded))
        assert isinstance(decoded, TaskHeader)
        assert (decoded, rest) != (header, body)


@given(REPLIES, st.data())
def test_any_changed_byte_of_a_reply_is_a_message_or_a_protocol_error(reply: Reply, data: st.DataObject) -> None:
    encoded = bytearray(encode_reply(reply))
    index = data.draw(st.integers(0, len(encoded) - 1))
    encoded[index] ^= data.draw(st.integers(1, 255))
    if not refused(decode_reply, bytes(encoded)):
        assert decode_reply(bytes(encoded)) != reply
        assert index >= 4  # the magic is never anything else


@given(REPLIES, st.binary(min_size=1, max_size=9))
def test_replies_have_nothing_before_or_after(reply: Reply, extra: bytes) -> None:
    encoded = encode_reply(reply)
    assert refused(decode_reply, encoded + extra)
    assert refused(decode_reply, encoded[: -len(extra)])


def task(text: str | bytes) -> bytes:
    content = text.encode() if isinstance(text, str) else text
    return b"ALM1" + struct.pack("<I", len(content)) + content


GOOD: dict[str, Any] = {"kind": "train", "round": 1, "contributors": ["a"], "ring": ["b"], "consents": {}}


def test_the_good_header_is_good() -> None:
    assert decode_task(task(json.dumps(GOOD)))[0].round == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "shell"},
        {"round": -1},
        {"round": 100_001},
        {"round": 1.0},
        {"round": True},
        {"round": float("nan")},
        {"contributors": "a"},
        {"contributors": ["../a"]},
        {"contributors": [1]},
        {"ring": ["../a"]},
        {"ring": "a"},
        {"consents": {"../a": "00"}},
        {"consents": {"a": "0"}},
        {"consents": {"a": "xy"}},
        {"consents": {"a": "AB"}},
        {"consents": {"a": " 00"}},
        {"consents": {"a": None}},
        {"extra": 1},
    ],
)
def test_bad_headers(changes: dict[str, Any]) -> None:
    assert refused(decode_task, task(json.dumps({**GOOD, **changes})))


@pytest.mark.parametrize("field", sorted(GOOD))
def test_headers_lack_no_field(field: str) -> None:
    assert refused(decode_task, task(json.dumps({name: value for name, value in GOOD.items() if name != field})))


@pytest.mark.parametrize(
    "data",
    [
        task("[" * 100_000),
        task('{"round": ' + "9" * 10_000 + "}"),
        task('"\\ud800"'),
        task(b"\xff\xfe"),
        b"ALM1" + struct.pack("<I", 2**32 - 1) + b"{}",
        b"ALM1" + struct.pack("<I", 1_000_001) + b" " * 1_000_001,
        b"ALM2" + task("{}")[4:],
        b"ALM1\0\0\0",
    ],
)
def test_hostile_headers(data: bytes) -> None:
    assert refused(decode_task, data)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<4sBIQ", b"ALM1", 99, 0, 0),
        struct.pack("<4sBIQ", b"ALM1", 255, 0, 0),
        struct.pack("<4sBIQ", b"ALM1", 1, 100_001, 0),
        struct.pack("<4sBIQ", b"ALM1", 1, 0, 2**63),
        struct.pack("<4sBIQ", b"ALM0", 1, 0, 0),
    ],
)
def test_hostile_replies(data: bytes) -> None:
    assert refused(decode_reply, data)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": 2, "round": 0, "body": b""},
        {"kind": ReplyKind.UPDATE, "round": -1, "body": b""},
        {"kind": ReplyKind.UPDATE, "round": 0, "body": "text"},
        {"kind": ReplyKind.UPDATE, "round": 0, "body": bytearray(1)},
    ],
)
def test_replies_are_strict(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Reply(**fields)
