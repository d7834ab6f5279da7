"""A box opens for its one address in its one job; X25519 keys that make no secret are refused."""

import dataclasses
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.errors import ProtocolError
from almoner.protection import boxes, set_up
from almoner.protection.boxes import BOX_OVERHEAD, Address, BoxKey, box_key, derive, shared_secret
from almoner.protection.set_up import JobKeys, PublicKeys, statement

ADA, BOB, EVE = JobKeys.generate(), JobKeys.generate(), JobKeys.generate()
T = bytes(range(32))
ADDRESS = Address(b"a kind of box", 3, "ada", "bob")
FIELD_PRIME = 2**255 - 19

LOW_ORDER = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    FIELD_PRIME - 1,
]
"""The points of order 1, 2, 4 and 8 of curve and twist (RFC 7748, section 6.1; D. Bernstein's list)."""


def point(number: int) -> bytes:
    return number.to_bytes(32, "little")


@given(st.binary(max_size=200))
def test_round_trip(content: bytes) -> None:
    box = box_key(ADA, BOB.public, T, ADDRESS).seal(content)
    assert len(box) == len(content) + BOX_OVERHEAD
    assert box_key(BOB, ADA.public, T, ADDRESS).unseal(box) == content
    assert box_key(ADA, BOB.public, T, ADDRESS).seal(content) == box


@given(st.data())
@settings(max_examples=50)
def test_a_changed_box(data: st.DataObject) -> None:
    box = bytearray(box_key(ADA, BOB.public, T, ADDRESS).seal(b"content"))
    box[data.draw(st.integers(0, len(box) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProtocolError, match="box of ada for bob: it does not open"):
        box_key(BOB, ADA.public, T, ADDRESS).unseal(bytes(box))


@pytest.mark.parametrize("box", [b"", b"short", bytes(BOX_OVERHEAD)])
def test_no_box(box: bytes) -> None:
    with pytest.raises(ProtocolError, match="does not open"):
        box_key(BOB, ADA.public, T, ADDRESS).unseal(box)


def move(**changes: Any) -> Address:
    return dataclasses.replace(ADDRESS, **changes)


MOVES = [
    (move(label=b"another kind"), T),
    (move(number=4), T),
    (move(sender="eve"), T),
    (move(receiver="eve"), T),
    (move(sender="bob", receiver="ada"), T),
    (move(sender="ad", receiver="abob"), T),
    (ADDRESS, bytes(32)),
]
"""All with the keys of ada and bob, so that only the address stands between the box and its opening."""


@pytest.mark.threat("T-35")
@pytest.mark.parametrize(("address", "transcript"), MOVES)
def test_a_moved_box(address: Address, transcript: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    box = box_key(ADA, BOB.public, T, ADDRESS).seal(b"content")
    with pytest.raises(ProtocolError, match="does not open"):
        box_key(BOB, ADA.public, transcript, address).unseal(box)
    # Without the binding it opens wherever it is carried.
    monkeypatch.setattr(boxes, "statement", lambda *fields: bytes(32))
    monkeypatch.setattr(boxes, "derive", lambda secret, *purpose: secret)
    box = box_key(ADA, BOB.public, T, ADDRESS).seal(b"content")
    assert box_key(BOB, ADA.public, transcript, address).unseal(box) == b"content"


@pytest.mark.parametrize(("address", "transcript"), MOVES)
def test_address_is_bound_twice(address: Address, transcript: bytes) -> None:
    """Key derivation and associated data each hold a box in its place without the other."""
    raw = box_key(ADA, BOB.public, T, ADDRESS).raw
    assert box_key(ADA, BOB.public, transcript, address).raw != raw
    with pytest.raises(ProtocolError, match="does not open"):
        BoxKey(raw, transcript, address).unseal(BoxKey(raw, T, ADDRESS).seal(b"content"))


def test_nobody_else_opens_it() -> None:
    box = box_key(ADA, BOB.public, T, ADDRESS).seal(b"content")
    for keys, peer in ((EVE, ADA), (EVE, BOB), (BOB, EVE)):
        with pytest.raises(ProtocolError, match="does not open"):
            box_key(keys, peer.public, T, ADDRESS).unseal(box)


@pytest.mark.threat("T-35")
@pytest.mark.parametrize("number", LOW_ORDER)
def test_low_order_points(number: int) -> None:
    with pytest.raises(ProtocolError, match="low order"):
        PublicKeys(point(number), bytes(32))
    with pytest.raises(ProtocolError, match="eve: the X25519 key is of low order"):
        shared_secret(ADA.exchange, point(number), "eve")


@pytest.mark.threat("T-35")
def test_what_a_low_order_point_would_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that passes off such a point as eve's key would open what is sealed for her, knowing no private key."""
    with pytest.raises(ProtocolError, match="low order"):
        PublicKeys(point(1), EVE.public.signing)

    class UncheckedX25519(X25519PrivateKey):
        """X25519 as RFC 7748 has it without the check: the "secret" with a point of low order is zero."""

        def exchange(self, peer_public_key: Any) -> bytes:
            return bytes(32)

        def public_key(self) -> Any:
            return ADA.exchange.public_key()

        def private_bytes(self, *form: Any) -> bytes:
            return b""

        def private_bytes_raw(self) -> bytes:
            return b""

        def __copy__(self) -> Any:
            return self

        def __deepcopy__(self, memo: Any) -> Any:
            return self

    monkeypatch.setattr(set_up, "check_exchange_key", lambda key: None)
    careless = JobKeys(UncheckedX25519(), ADA._signing)
    address = move(receiver="eve")
    box = box_key(careless, PublicKeys(point(1), EVE.public.signing), T, address).seal(b"a share")
    known = derive(bytes(32), address.label, T, address.number, address.sender, address.receiver.encode())
    assert BoxKey(known, T, address).unseal(box) == b"a share"


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), point(FIELD_PRIME), point(FIELD_PRIME + 9), b"\xff" * 32])
def test_second_encodings_and_lengths(key: bytes) -> None:
    with pytest.raises(ProtocolError, match="not encoded"):
        PublicKeys(key, bytes(32))
    with pytest.raises(ProtocolError, match="not encoded"):
        shared_secret(ADA.exchange, key, "eve")
    with pytest.raises(ProtocolError, match="wrong length"):
        PublicKeys(ADA.public.exchange, bytes(31))


def test_high_bit_is_no_second_key() -> None:
    """X25519 ignores the top bit, so the same key could otherwise be shown as two."""
    key = ADA.public.exchange
    with pytest.raises(ProtocolError, match="not encoded"):
        PublicKeys(key[:31] + bytes([key[31] | 0x80]), ADA.public.signing)


def test_keys_are_hkdf_salted_with_the_transcript() -> None:
    """RFC 5869 with the standard library's HMAC; one block, since 32 bytes are asked."""
    bound = statement(b"label", T, 3, "ada", b"part")
    extracted = hmac.digest(T, b"secret", "sha256")
    assert derive(b"secret", b"label", T, 3, "ada", b"part") == hmac.digest(extracted, bound + b"\x01", "sha256")
    shared = ADA.exchange.exchange(BOB.exchange.public_key())
    assert box_key(ADA, BOB.public, T, ADDRESS).raw == derive(shared, b"a kind of box", T, 3, "ada", b"bob")


PARTS = st.lists(st.binary(max_size=6), max_size=4)
FIELDS = st.tuples(st.binary(max_size=6), st.binary(max_size=6), st.integers(0, 3), st.text("ab", max_size=3), PARTS)


@given(FIELDS, FIELDS)
def test_statements_of_different_fields_differ(one: Any, other: Any) -> None:
    same = statement(*one[:4], *one[4]) == statement(*other[:4], *other[4])
    assert same == (one == other)
    if one != other and (one[1] or other[1]):
        assert derive(b"secret", *one[:4], *one[4]) != derive(b"secret", *other[:4], *other[4])


def test_statement_moves_no_bytes_between_fields() -> None:
    assert len({statement(b"ab", b"c", 0, ""), statement(b"a", b"bc", 0, ""), statement(b"ab", b"", 0, "c")}) == 3
    assert len({statement(b"", b"", 0, "", b"ab"), statement(b"", b"", 0, "", b"a", b"b")}) == 2
    assert len({statement(b"", b"", 0, ""), statement(b"", b"", 0, "", b"")}) == 2
