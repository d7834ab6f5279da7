"""PlainScheme beyond the contract: its bytes, and what its server can see and refuse."""

import numpy as np
import pytest

from almoner.encryption.plain import PlainScheme
from almoner.errors import ProtocolError
from almoner.protection.message import HEADER_BYTES
from almoner.protection.scheme import VALUE_BOUND

MAXIMUM = np.array([VALUE_BOUND, 0], dtype=np.int64)


def test_values_are_four_little_endian_bytes_in_clear():
    message = PlainScheme(2).protect(np.array([1, -2], dtype=np.int64))
    assert message[HEADER_BYTES:].hex() == "01000000feffffff"


@pytest.mark.parametrize("entry", [VALUE_BOUND + 1, -VALUE_BOUND - 1, -(2**31)])
def test_an_addend_beyond_the_bound_is_refused(entry):
    scheme = PlainScheme(2)
    forged = scheme.protect(MAXIMUM)[:HEADER_BYTES] + np.array([entry, 0], dtype="<i4").tobytes()
    with pytest.raises(ProtocolError, match=r"message 2 of 2: holds an entry beyond ±32767"):
        scheme.combine([scheme.protect(MAXIMUM), forged])


def test_a_total_beyond_its_addends_is_refused():
    scheme = PlainScheme(2)
    total = scheme.combine([scheme.protect(MAXIMUM)] * 2)
    assert scheme.open(total, 2).tolist() == [2 * VALUE_BOUND, 0]
    forged = total[:HEADER_BYTES] + np.array([2 * VALUE_BOUND + 1, 0], dtype="<i4").tobytes()
    with pytest.raises(ProtocolError, match=r"beyond ±65534"):
        scheme.open(forged, 2)
