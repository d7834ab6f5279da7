"""The frame of every protected message: a fixed-size header, then a payload of public length.

Header, little-endian, 36 bytes: magic `ALMP`, version, scheme, kind, number of addends (one byte
each), dimension (4), payload length (8), parameters (16). The receiver knows every field beforehand,
so reading is comparing. The header is not authenticated: it finds mistakes, not forgeries.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from almoner.errors import ProtocolError

MAGIC = b"ALMP"
VERSION = 1
_LAYOUT = struct.Struct("<4sBBBBIQ16s")
HEADER_BYTES = _LAYOUT.size


class SchemeId(IntEnum):
    """The scheme that made a message."""

    PLAIN = 1
    BFV = 2
    SECAGG = 3


class Kind(IntEnum):
    """What a message holds."""

    ADDEND = 1
    TOTAL = 2


@dataclass(frozen=True)
class Header:
    """The public part of a message.

    Args:
        scheme: scheme that made it.
        kind: one site's addend, or a total.
        num_addends: addends in it, 1 for an addend.
        dimension: entries of the vector.
        payload_bytes: length of what follows the header.
        parameters: 16 bytes that name the scheme's parameters.
    """

    scheme: SchemeId
    kind: Kind
    num_addends: int
    dimension: int
    payload_bytes: int
    parameters: bytes

    def encode(self) -> bytes:
        """Return the header's 36 bytes."""
        return _LAYOUT.pack(
            MAGIC,
            VERSION,
            self.scheme,
            self.kind,
            self.num_addends,
            self.dimension,
            self.payload_bytes,
            self.parameters,
        )


def join(header: Header, payload: bytes) -> bytes:
    """Return a message.

    Raises:
        ProtocolError: the payload's length is not the one that the header states.
    """
    if len(payload) != header.payload_bytes:
        raise ProtocolError(f"payload has {len(payload)} bytes, its header states {header.payload_bytes}: report this")
    return header.encode() + payload


def split(message: bytes, expected: Header, where: str) -> memoryview:
    """Return the payload of a message whose header and length are exactly the expected ones.

    Args:
        message: what a peer sent.
        expected: the header that it must have.
        where: what the message is, for the error.

    Raises:
        ProtocolError: anything differs; the text names the first field that does.
    """
    if not isinstance(message, bytes):
        raise ProtocolError(f"{where}: not bytes: send what protect() or combine() returned")
    if len(message) < HEADER_BYTES:
        raise ProtocolError(f"{where}: {len(message)} bytes, shorter than a header ({HEADER_BYTES}): send it again")
    _compare(message[:HEADER_BYTES], expected, where)
    if len(message) != HEADER_BYTES + expected.payload_bytes:
        wanted = HEADER_BYTES + expected.payload_bytes
        raise ProtocolError(f"{where}: {len(message)} bytes, expected {wanted}: it is cut or padded, send it again")
    return memoryview(message)[HEADER_BYTES:]


def _compare(found: bytes, expected: Header, where: str) -> None:
    """Raise an error that names the first field in which a header differs."""
    names = ("magic", "version", "scheme", "kind", "number of addends", "dimension", "payload length", "parameters")
    pairs = zip(names, _LAYOUT.unpack(found), _LAYOUT.unpack(expected.encode()), strict=True)
    for name, is_, want in pairs:
        if is_ != want:
            text = (is_.hex(), want.hex()) if isinstance(is_, bytes) else (str(is_), str(int(want)))
            raise ProtocolError(
                f"{where}: {name} is {text[0]}, expected {text[1]}: all parties must run the same job and release"
            )
