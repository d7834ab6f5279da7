"""Plain aggregation: no protection at all, in the same frame and with the same sums as the others."""

from collections.abc import Sequence

import numpy as np

from almoner.encryption.scheme import ProtectionScheme
from almoner.errors import ProtocolError
from almoner.protection import message
from almoner.protection.message import Header, Kind, SchemeId
from almoner.protection.scheme import VALUE_BOUND, IntVector, check_num_addends, saturate

_ENTRY = np.dtype("<i4")
_PARAMETERS = b"int32-le".ljust(16, b"\0")


class PlainScheme(ProtectionScheme):
    """Sends every value as four little-endian bytes.

    *Guarantee*: exact sums. Whoever sees a message reads the site's (noised) values, the server too.
    """

    @property
    def message_bytes(self) -> int:
        """Length of every message."""
        return message.HEADER_BYTES + self.dimension * _ENTRY.itemsize

    @property
    def total_bytes(self) -> int:
        """Length of every total, the same as of a message."""
        return self.message_bytes

    def protect(self, values: IntVector) -> bytes:
        """Return the saturated values in clear."""
        return message.join(self._header(Kind.ADDEND, 1), saturate(values, self.dimension).astype(_ENTRY).tobytes())

    def combine(self, messages: Sequence[bytes]) -> bytes:
        """Return the total of the sites' messages."""
        count = check_num_addends(len(messages), "combine")
        total = np.zeros(self.dimension, dtype=np.int64)
        for index, addend in enumerate(messages, start=1):
            total += self._read(addend, Kind.ADDEND, 1, f"combine: message {index} of {count}")
        return message.join(self._header(Kind.TOTAL, count), total.astype(_ENTRY).tobytes())

    def open(self, total: bytes, num_addends: int) -> IntVector:
        """Return the sum that a total holds."""
        return self._read(total, Kind.TOTAL, check_num_addends(num_addends, "open"), "open: total")

    def _header(self, kind: Kind, num_addends: int) -> Header:
        """Return the header that a message of this scheme has."""
        size = self.dimension * _ENTRY.itemsize
        return Header(SchemeId.PLAIN, kind, num_addends, self.dimension, size, _PARAMETERS)

    def _read(self, data: bytes, kind: Kind, num_addends: int, where: str) -> IntVector:
        """Return the values of a message, all within what so many addends can sum to."""
        payload = message.split(data, self._header(kind, num_addends), where)
        values = np.frombuffer(payload, dtype=_ENTRY).astype(np.int64)
        if np.abs(values).max() > num_addends * VALUE_BOUND:
            raise ProtocolError(f"{where}: holds an entry beyond ±{num_addends * VALUE_BOUND}: it was not made here")
        return values
