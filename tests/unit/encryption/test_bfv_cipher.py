"""Encryption in chunks: parameters, exactness, noise, fresh randomness, memory."""

import os
import tracemalloc
from hashlib import sha256

import numpy as np
import pytest
import tenseal.sealapi as seal
from tests.unit.encryption.bfv_cases import KEY, acknowledged, expand, rounds, send, total_of
from tests.unit.protection.protection_cases import SITES

from almoner.encryption.bfv_cipher import BfvCipher, add_modulo, scale_up
from almoner.encryption.bfv_key import BfvKey
from almoner.encryption.bfv_parameters import COEFF_MODULUS as Q
from almoner.encryption.bfv_parameters import COEFF_MODULUS_BITS, POLY_MODULUS_DEGREE, context, parameters_id
from almoner.encryption.bfv_parameters import PLAIN_MODULUS as T
from almoner.encryption.packing import SLOTS
from almoner.encryption.seal_files import Workspace
from almoner.encryption.seal_frames import frames
from almoner.errors import ProtocolError
from almoner.protection.scheme import MAX_ADDENDS

LARGEST = np.full(SLOTS, T - 1)


@pytest.fixture
def work():
    with Workspace() as space:
        yield space


@pytest.fixture
def cipher(work):
    return BfvCipher(KEY, work)


def test_parameters_are_128_bit_secure_and_pinned():
    chosen = context().first_context_data().parms()
    assert [modulus.value() for modulus in chosen.coeff_modulus()] == [Q] == [1152921504606830593]
    assert chosen.plain_modulus().value() == T == 17592186028033
    most_bits = seal.CoeffModulus.MaxBitCount(POLY_MODULUS_DEGREE, seal.SEC_LEVEL_TYPE.TC128)
    assert sum(COEFF_MODULUS_BITS) <= most_bits == 109
    assert parameters_id().hex() == "8c6ab891b96f29240adee831a0b03b86"


def test_the_plaintext_modulus_is_prime():
    """Tags modulo a composite would let some changes through. Deterministic Miller-Rabin below 3.4e14: bases to 17."""
    odd, twos = T - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17):
        powers = [pow(base, odd << turn, T) for turn in range(twos)]
        assert powers[0] == 1 or T - 1 in powers


def test_slots_scale_to_within_one():
    slots = np.concatenate([np.random.default_rng(0).integers(0, T, SLOTS - 3), [0, 1, T - 1]])
    scaled = scale_up(slots).tolist()
    assert max(abs(2 * (value * T - slot * Q)) for value, slot in zip(scaled, slots.tolist(), strict=True)) <= 2 * T
    assert max(scaled) < Q


def test_sums_modulo_q():
    left, right = np.array([Q - 1, 0, 5, Q - 1], dtype=np.uint64), np.array([Q - 1, 0, Q - 5, 1], dtype=np.uint64)
    add_modulo(left, right)
    assert left.tolist() == [Q - 2, 0, 0, 0]


@pytest.mark.parametrize("addends", [1, 2, 7])
def test_decryption_is_exact(cipher, addends):
    rows = np.random.default_rng(addends).integers(0, T, (addends, SLOTS))
    rows[0, :2] = T - 1, 0
    first, seeds = np.zeros(SLOTS, dtype=np.uint64), []
    for row in rows:
        c0, seed = cipher.encrypt(scale_up(row))
        add_modulo(first, c0)
        seeds.append(seed)
    assert cipher.decrypt(first, seeds).tolist() == (rows.astype(object).sum(axis=0) % T).tolist()


def test_the_most_addends_leave_six_bits_of_noise_budget(work, cipher):
    first, c1 = np.zeros(SLOTS, dtype=np.uint64), np.zeros(SLOTS, dtype=np.uint64)
    for _ in range(MAX_ADDENDS):
        c0, seed = cipher.encrypt(scale_up(LARGEST))
        add_modulo(first, c0)
        add_modulo(c1, expand(seed))
    total = work.load(seal.Ciphertext(), frames().total.wrap(first.tobytes() + c1.tobytes()), "total")
    # 8 is typical; for less than 6 a coefficient must be 22 standard deviations out.
    assert seal.Decryptor(context(), KEY.load(work)).invariant_noise_budget(total) >= 6


def test_another_key_decrypts_to_something_else(work, cipher):
    first, seed = cipher.encrypt(scale_up(LARGEST))
    assert (BfvCipher(BfvKey.generate(), work).decrypt(first, [seed]) != LARGEST).sum() > SLOTS - 10


def test_coefficients_beyond_the_modulus_are_refused(cipher):
    first, seed = cipher.encrypt(scale_up(LARGEST))
    for place in (0, SLOTS - 1):
        bad = first.copy()
        bad[place] = Q
        with pytest.raises(ProtocolError, match="SEAL refuses it"):
            cipher.decrypt(bad, [seed])


def test_equal_slots_give_unrelated_ciphertexts(cipher):
    made = [cipher.encrypt(scale_up(LARGEST)) for _ in range(20)]
    assert len({seed for _, seed in made}) == 20
    # Two unrelated ciphertexts agree in one coefficient with probability 2^-60.
    assert not (made[0][0] == made[1][0]).any()


def test_a_forked_process_draws_its_own_randomness(cipher):
    cipher.encrypt(scale_up(LARGEST))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, cipher.encrypt(scale_up(LARGEST))[1])
        os._exit(0)
    os.waitpid(child, 0)  # both have the same workspace
    own = cipher.encrypt(scale_up(LARGEST))[1]
    theirs = os.read(read, 64)
    os.close(read)
    os.close(write)
    assert len(theirs) == 64
    assert theirs != own


def test_memory_beyond_the_values_stays_below_two_float32_copies():
    """In blocks: what protecting and opening allocate besides their argument, counting what they return."""
    dimension = 2_000_000
    values = {site: np.full(dimension, place) for place, site in enumerate(SITES)}
    total = total_of(dimension, SITES, list(send(values).values()))
    digest, total = sha256(total).digest(), acknowledged(1, SITES, total)
    site = rounds("ada", dimension)
    peaks = []
    for act in (lambda: site.protect(1, values["ada"]), lambda: site.open(1, SITES, total)):
        tracemalloc.start()
        act()
        peaks.append(tracemalloc.get_traced_memory()[1] / (4 * dimension))
        tracemalloc.stop()
        site.acknowledge(1, SITES, digest)
    assert peaks[0] < 2
    assert peaks[1] < 3  # the sum is returned as int64, two copies by itself
