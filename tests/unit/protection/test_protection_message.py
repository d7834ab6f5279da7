"""The message frame: every field is compared, and the error names the one that differs."""

from dataclasses import replace

import pytest

from almoner.errors import ProtocolError
from almoner.protection.message import HEADER_BYTES, VERSION, Header, Kind, SchemeId, join, split

HEADER = Header(SchemeId.BFV, Kind.ADDEND, 1, 10, 3, bytes(range(16)))


def test_round_trip():
    message = join(HEADER, b"abc")
    assert len(message) == HEADER_BYTES + 3
    assert bytes(split(message, HEADER, "message")) == b"abc"


def test_format_is_pinned():
    assert VERSION == 1
    assert HEADER.encode().hex() == "414c4d50" + "01020101" + "0a000000" + "0300000000000000" + bytes(range(16)).hex()


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("scheme", SchemeId.PLAIN, "scheme is 1, expected 2"),
        ("kind", Kind.TOTAL, "kind is 2, expected 1"),
        ("num_addends", 2, "number of addends is 2, expected 1"),
        ("dimension", 11, "dimension is 11, expected 10"),
        ("payload_bytes", 4, "payload length is 4, expected 3"),
        ("parameters", bytes(16), "parameters is 0{32}, expected 000102"),
    ],
)
def test_error_names_the_field(field, value, name):
    with pytest.raises(ProtocolError, match=f"here: {name}"):
        split(replace(HEADER, **{field: value}).encode() + b"abc", HEADER, "here")


def test_refuses_other_magic_and_version():
    message = join(HEADER, b"abc")
    with pytest.raises(ProtocolError, match="magic"):
        split(b"X" + message[1:], HEADER, "here")
    with pytest.raises(ProtocolError, match="version is 2, expected 1"):
        split(message[:4] + b"\x02" + message[5:], HEADER, "here")


def test_join_refuses_a_payload_of_another_length():
    with pytest.raises(ProtocolError, match="payload has 4 bytes"):
        join(HEADER, b"abcd")
