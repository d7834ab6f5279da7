"""What a site says about the server's log: two binary messages of fixed length."""

import struct
from dataclasses import dataclass

from almoner.errors import ProtocolError
from almoner.protection.signing import SIGNATURE_BYTES

_INTRODUCTION = struct.Struct("<Q32s")
_ANSWER = struct.Struct(f"<Q{SIGNATURE_BYTES}s")
LOG_INTRODUCTION_BYTES, LOG_ANSWER_BYTES = _INTRODUCTION.size, _ANSWER.size
_NOTHING, _NO_SIGNATURE = bytes(32), bytes(SIGNATURE_BYTES)
_MAX_SIZE = 2**53


@dataclass(frozen=True, slots=True)
class LogIntroduction:
    """What a site says at set-up.

    Args:
        size: of the head that it keeps, 0 if it keeps none.
        decision: SHA-256 of the signed decision that admitted the job, hexadecimal; "" if its ledger has none.
    """

    size: int
    decision: str

    def to_bytes(self) -> bytes:
        """Encode the message."""
        return _INTRODUCTION.pack(self.size, bytes.fromhex(self.decision) or _NOTHING)

    @classmethod
    def from_bytes(cls, data: bytes) -> "LogIntroduction":
        """Decode the message.

        Raises:
            ProtocolError: it is none.
        """
        size, decision = _unpack(_INTRODUCTION, data)
        return cls(size, "" if decision == _NOTHING else decision.hex())


@dataclass(frozen=True, slots=True)
class LogAnswer:
    """What a site says at the end.

    Args:
        size: of the head that it keeps.
        signature: of the head that it was shown; b"" if the proof was not from the head that it keeps.
    """

    size: int
    signature: bytes

    def to_bytes(self) -> bytes:
        """Encode the message."""
        return _ANSWER.pack(self.size, self.signature or _NO_SIGNATURE)

    @classmethod
    def from_bytes(cls, data: bytes) -> "LogAnswer":
        """Decode the message.

        Raises:
            ProtocolError: it is none.
        """
        size, signature = _unpack(_ANSWER, data)
        return cls(size, b"" if signature == _NO_SIGNATURE else signature)


def _unpack(form: struct.Struct, data: bytes) -> tuple[int, bytes]:
    """Decode a size and what follows it."""
    if len(data) != form.size:
        raise ProtocolError("log: not a message of this protocol")
    size, rest = form.unpack(data)
    if size >= _MAX_SIZE:
        raise ProtocolError("log: not a message of this protocol")
    return size, rest
