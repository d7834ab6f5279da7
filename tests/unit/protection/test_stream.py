"""The streams are AES-256-CTR from counter 2, whatever the pieces are that they are asked in."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.errors import ProtocolError
from almoner.protection.stream import BLOCK_BYTES, Stream

KEY = bytes(range(32))


def first_bytes(num_bytes: int, key: bytes = KEY) -> bytes:
    """Encrypt the counters one by one, without counter mode."""
    counters = b"".join((2 + i).to_bytes(16, "big") for i in range(-(-num_bytes // 16)))
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(counters)[:num_bytes]


def take(stream: Stream, num_bytes: int) -> bytes:
    buffer = np.full(num_bytes, 0xAA, dtype=np.uint8)
    stream.fill(buffer)
    return buffer.tobytes()


def test_known_answer() -> None:
    """FIPS 197, C.3: AES-256 of 00112233...ff under 000102...1f, reached as a counter would be."""
    plain = bytes.fromhex("00112233445566778899aabbccddeeff")
    ours = Cipher(algorithms.AES(KEY), modes.ECB()).encryptor().update(plain)
    assert ours.hex() == "8ea2b7ca516745bfeafc49904b496089"
    assert take(Stream(KEY), 100) == first_bytes(100)


@given(st.lists(st.integers(0, 200), max_size=8))
def test_pieces_do_not_matter(pieces: list[int]) -> None:
    stream = Stream(KEY)
    assert b"".join(take(stream, piece) for piece in pieces) == first_bytes(sum(pieces))


@settings(max_examples=10)
@given(st.integers(BLOCK_BYTES - 20, BLOCK_BYTES + 20), st.integers(0, 2 * BLOCK_BYTES))
def test_long_pieces(first: int, second: int) -> None:
    stream = Stream(KEY)
    assert take(stream, first) + take(stream, second) == first_bytes(first + second)


def test_nothing_beside_the_buffer_is_written() -> None:
    whole = np.zeros(300, dtype=np.uint8)
    Stream(KEY).fill(whole[100:200])
    assert not whole[:100].any()
    assert not whole[200:].any()
    with pytest.raises((BufferError, ValueError)):
        Stream(KEY).fill(whole[::2])


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_other_key_lengths(length: int) -> None:
    with pytest.raises(ProtocolError, match="a stream's key"):
        Stream(bytes(length))
