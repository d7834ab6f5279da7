import secrets

import numpy as np
import pytest
import randomgen
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from almoner.training.noise import RandomSource, SecureRandom, UnsafeSeededRandom


def test_the_generator_is_chacha20_as_others_compute_it() -> None:
    """A wrong or reduced cipher inside randomgen would show against pyca/cryptography."""
    key = secrets.randbits(256)
    cipher = Cipher(algorithms.ChaCha20(key.to_bytes(32, "little"), bytes(16)), mode=None).encryptor()
    expected = np.frombuffer(cipher.update(bytes(8 * 1000)), dtype="<u8")
    assert np.array_equal(randomgen.ChaCha(key=key, rounds=20).random_raw(1000), expected)


def test_secure_sources_use_20_rounds_and_different_keys() -> None:
    states = [SecureRandom()._generator.bit_generator.state for _ in range(2)]
    assert all(state["bit_generator"] == "randomgen.chacha.ChaCha" for state in states)
    assert all(state["state"]["rounds"] == 20 for state in states)
    assert not np.array_equal(states[0]["state"]["keysetup"], states[1]["state"]["keysetup"])


def test_secure_sources_never_repeat() -> None:
    """Two draws of 100 uniform 53-bit integers agree with probability 2^-5300."""
    one, other = SecureRandom(), SecureRandom()
    draws = [source.uniform_integers(100) for source in (one, one, other)]
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
    assert uniform.min() >= 0
    assert uniform.max() < 2**53
