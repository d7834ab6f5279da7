"""Job terms, set-up messages and the transcript: what is bound to what."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protection_cases import SITES, TERMS, key_pem, rsa_key

from almoner.errors import ProtocolError
from almoner.protection.set_up import (
    ED25519_BYTES,
    SET_UP_BYTES,
    JobKeys,
    JobTerms,
    PublicKeys,
    check_subset,
    make_set_up,
    names,
    read_set_up,
    statement,
    transcript,
)

KEYS = JobKeys.generate()
MESSAGE = make_set_up(TERMS, "bob", KEYS, key_pem("bob"))
BOB = rsa_key("bob").public_key()
ZEROS = bytes(32)

OTHER_TERMS: dict[str, Any] = {
    "envelope_digest": "ac" * 32,
    "job_id": "6a1b1111-0000-4000-8000-000000000001",
    "scheme": "he",
    "sites": (*SITES[:4], "eva"),
    "declared": (100, 90, 80, 70, 61),
    "num_colluding_sites": 2,
    "min_sites": 4,
    "dimension": 11,
    "limit": 32_766,
    "step": 2.0**-11,
    "nonce": "0123456789abcdee" * 2,
}


@pytest.mark.parametrize("field", list(OTHER_TERMS))
def test_digest_holds_every_field(field: str) -> None:
    other = dataclasses.replace(TERMS, **{field: OTHER_TERMS[field]})
    assert other.digest() != TERMS.digest()
    with pytest.raises(ProtocolError, match="other terms, or another job"):
        read_set_up(MESSAGE, other, "bob", BOB)


def test_every_field_has_another_value_above() -> None:
    assert set(OTHER_TERMS) == {field.name for field in dataclasses.fields(JobTerms)}


def test_digest_is_pinned() -> None:
    assert TERMS.digest().hex() == "7b2bfcc63a440200d5a75b55fc960ca00196ed0f6c7129c3609727bc87485713"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sites": SITES[:2]}, "2 sites"),
        ({"sites": ("ada", "ada", "bob", "cyd", "dan")}, "named twice"),
        ({"num_colluding_sites": 0}, "at least 1"),
        ({"num_colluding_sites": 4}, "cannot withstand"),
        ({"declared": (100, 90, 80, 70)}, "one positive size"),
        ({"declared": (100, 90, 80, 70, 0)}, "one positive size"),
        ({"min_sites": 0}, "min_sites 0 of 5 sites"),
        ({"min_sites": 6}, "min_sites 6 of 5 sites"),
        ({"dimension": 0}, "dimension 0"),
        ({"limit": 32_768}, "limit 32768"),
        ({"limit": -1}, "limit -1"),
        ({"step": 0.0}, "step 0.0"),
        ({"step": float("nan")}, "step nan"),
        ({"step": float("inf")}, "step inf"),
    ],
)
def test_terms_that_cannot_be_kept(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        dataclasses.replace(TERMS, **changes)


def test_quorum_is_the_larger_limit() -> None:
    assert (TERMS.threshold, TERMS.quorum) == (4, 4)
    assert dataclasses.replace(TERMS, min_sites=5).quorum == 5
    assert [TERMS.index(site) for site in SITES] == [1, 2, 3, 4, 5]


def test_a_message_reads_as_what_was_made() -> None:
    assert len(MESSAGE) == SET_UP_BYTES
    assert read_set_up(MESSAGE, TERMS, "bob", BOB) == KEYS.public


@settings(max_examples=60)
@given(st.integers(0, SET_UP_BYTES - 1), st.integers(1, 255))
def test_any_changed_byte(position: int, change: int) -> None:
    changed = bytearray(MESSAGE)
    changed[position] ^= change
    with pytest.raises(ProtocolError, match="set-up of bob"):
        read_set_up(bytes(changed), TERMS, "bob", BOB)


@pytest.mark.parametrize("message", [b"", MESSAGE[:-1], MESSAGE + b"\0"])
def test_another_length(message: bytes) -> None:
    with pytest.raises(ProtocolError, match="set-up of bob"):
        read_set_up(message, TERMS, "bob", BOB)


def test_at_another_sites_place() -> None:
    """Not even the holder of the same certificate key can pass a message off as another site's."""
    with pytest.raises(ProtocolError, match="set-up of eve: not signed"):
        read_set_up(MESSAGE, TERMS, "eve", BOB)


@pytest.mark.threat("T-35")
def test_a_message_of_another_job_under_the_digest_of_this_one() -> None:
    """What is signed holds the terms too, not only what stands before the keys."""
    old = dataclasses.replace(TERMS, nonce="f" * 32)
    message = make_set_up(old, "bob", KEYS, key_pem("bob"))
    assert read_set_up(message, old, "bob", BOB) == KEYS.public
    with pytest.raises(ProtocolError, match="not signed with its certificate's key"):
        read_set_up(TERMS.digest() + message[32:], TERMS, "bob", BOB)


def test_transcript_holds_names_beside_messages() -> None:
    one = transcript(TERMS, ("ada", "bob"), {"ada": b"1", "bob": b"2"})
    assert one != transcript(TERMS, ("ada", "cyd"), {"ada": b"1", "cyd": b"2"})


def test_transcript_holds_who_and_what() -> None:
    messages = {site: make_set_up(TERMS, site, JobKeys.generate(), key_pem(site)) for site in SITES}
    other = {**messages, "eve": make_set_up(TERMS, "eve", JobKeys.generate(), key_pem("eve"))}
    swapped = {**messages, "ada": messages["bob"], "bob": messages["ada"]}
    same_terms = dataclasses.replace(TERMS, nonce="f" * 32)
    seen = [
        transcript(TERMS, SITES, messages),
        transcript(TERMS, SITES[:4], messages),
        transcript(TERMS, SITES[1:], messages),
        transcript(TERMS, SITES, other),
        transcript(TERMS, SITES, swapped),
        transcript(same_terms, SITES, messages),
    ]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    ("chosen", "least", "text"),
    [
        (("ada", "bob"), 3, "2 sites, at least 3"),
        ((), 1, "0 sites"),
        (("bob", "ada", "cyd"), 3, "in its order"),
        (("ada", "ada", "bob"), 2, "each once"),
        (("ada", "bob", "zoe"), 2, "not sites of the job"),
        (["ada", "bob", "cyd"], 3, "not sites"),
    ],
)
def test_lists_that_are_refused(chosen: Any, least: int, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        check_subset(chosen, SITES, least, "who is present")


@given(st.sets(st.sampled_from(SITES), min_size=1))
def test_subsets_in_order_pass(chosen: set[str]) -> None:
    check_subset(tuple(site for site in SITES if site in chosen), SITES, 1, "who is present")


@given(st.lists(st.text('a",[]', max_size=3)), st.lists(st.text('a",[]', max_size=3)))
def test_lists_of_names_have_one_encoding(one: list[str], other: list[str]) -> None:
    assert (names(tuple(one)) == names(tuple(other))) == (one == other)


def test_signatures() -> None:
    stated = statement(b"label", ZEROS, 1, "bob", b"said")
    signature = KEYS.sign(stated)
    assert len(signature) == ED25519_BYTES
    KEYS.public.verify(signature, stated, "word of bob")
    for false, about in ((signature[:-1], stated), (signature, ZEROS), (bytes(64), stated), (b"", stated)):
        with pytest.raises(ProtocolError, match="word of bob: the signature does not verify"):
            KEYS.public.verify(false, about, "word of bob")
    unusable = PublicKeys(KEYS.public.exchange, b"\xff" * 32)
    with pytest.raises(ProtocolError, match="does not verify"):
        unusable.verify(signature, stated, "word of bob")


def test_a_key_of_another_size_or_kind() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    with pytest.raises(ProtocolError, match="not an RSA key of 2048 bits"):
        make_set_up(TERMS, "bob", KEYS, rsa.generate_private_key(65537, 3072).private_bytes(*form))
