import secrets

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from almoner.training.noise import RandomSource, SecureRandom, UnsafeSeededRandom


def test_the_words_are_aes_of_a_counter_under_a_key_of_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """In three draws, the second of which ends within a block."""
    key = secrets.token_bytes(16)
    monkeypatch.setattr(secrets, "token_bytes", {16: key}.__getitem__)
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    expected = np.frombuffer(b"".join(cipher.update(block.to_bytes(16, "big")) for block in range(500)), np.uint64)
    source = SecureRandom()
    assert np.array_equal(np.concatenate([source._words(size) for size in (0, 401, 599)]), expected)


@pytest.mark.threat("T-123")
def test_secure_sources_never_repeat() -> None:
    """Two draws of 100 uniform 53-bit integers agree with probability 2^-5300, of normal ones below 2^-2600."""
    one, other = SecureRandom(), SecureRandom()
    for draw in (SecureRandom.uniform_integers, lambda source, size: source.gaussian_integers(2.0**26, size)):
        draws = [draw(source, 100) for source in (one, one, other)]
        assert not np.array_equal(draws[0], draws[1])
        assert not np.array_equal(draws[0], draws[2])


def test_unsafe_source_repeats_its_seed() -> None:
    draws = [UnsafeSeededRandom(seed).gaussian_integers(100.0, 50) for seed in (1, 1, 2)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


@pytest.mark.parametrize("source", [SecureRandom(), UnsafeSeededRandom(0)])
def test_draws_are_integers_of_the_asked_size(source: RandomSource) -> None:
    assert source.gaussian_integers(3.0, 7).dtype == np.int64
    assert source.gaussian_integers(3.0, 7).shape == (7,)
    uniform = source.uniform_integers(1000)
    assert uniform.dtype == np.int64
    assert uniform.min() >= 0
    assert 2**52 < uniform.max() < 2**53


@pytest.mark.parametrize("bound", [1, 2, 3, 2**40 + 1])
def test_integers_below_a_bound_are(bound: int) -> None:
    drawn = SecureRandom()._below(bound, 1000)
    assert drawn.dtype == np.int64
    assert drawn.min() >= 0
    assert bound / 2 <= drawn.max() + 1 <= bound


def test_words_that_would_favour_small_integers_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 2^64 words 2^64 - 1 make equally many of 0, 1 and 2; the last one would be a 0 more."""
    source, words = SecureRandom(), iter([[7, 2**64 - 1, 2**64 - 2], [2**64 - 1], [1]])
    monkeypatch.setattr(source, "_words", lambda size: np.array(next(words), np.uint64))
    assert source._below(3, 3).tolist() == [1, 1, 2]
