"""BfvKey: a round trip, precise refusals, and no way to print it."""

import pickle

import pytest

from almoner.encryption.bfv_key import KEY_BYTES, BfvKey
from almoner.encryption.bfv_parameters import parameters_id
from almoner.errors import ProtocolError


def test_round_trip_and_fresh_keys_differ():
    key = BfvKey.generate()
    assert BfvKey.from_bytes(key.to_bytes()).to_bytes() == key.to_bytes()
    assert len({BfvKey.generate().to_bytes() for _ in range(5)}) == 5


def test_form_is_pinned():
    data = BfvKey.generate().to_bytes()
    assert data[:24] == b"ALMKBFV\x02" + parameters_id()
    assert len(data) == KEY_BYTES == 24 + 4096 * 8


def test_printing_and_pickling_do_not_give_it_away():
    key = BfvKey.generate()
    assert repr(key) == str(key) == f"{key}" == "<BfvKey>"
    with pytest.raises(TypeError, match="not copied or pickled"):
        pickle.dumps(key)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda data: b"", "not a BFV key"),
        (lambda data: data.hex(), "not a BFV key"),
        (lambda data: b"X" + data[1:], "not a BFV key"),
        (lambda data: data[:8] + bytes(16) + data[24:], "other parameters"),
        (lambda data: data[:-1], "wrong length"),
        (lambda data: data + b"\0", "wrong length"),
        (lambda data: data[:24] + b"\xff" * (len(data) - 24), "key: SEAL refuses it"),
    ],
)
def test_refuses_what_is_no_key(damage, text):
    with pytest.raises(ProtocolError, match=text) as caught:
        BfvKey.from_bytes(damage(BfvKey.generate().to_bytes()))
    assert "\n" not in str(caught.value)
