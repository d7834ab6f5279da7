"""BfvScheme beyond the contract: security parameters, sizes, noise, keys, fresh randomness, known limits."""

import os

import numpy as np
import pytest
import tenseal.sealapi as seal

from almoner.encryption.bfv import BfvScheme
from almoner.encryption.bfv_key import BfvKey
from almoner.encryption.bfv_parameters import COEFF_MODULUS_BITS, POLY_MODULUS_DEGREE, context, parameters_id
from almoner.encryption.packing import FIELD_BITS, VALUES_PER_CHUNK
from almoner.encryption.plain import PlainScheme
from almoner.encryption.seal_files import Workspace
from almoner.encryption.seal_frames import frames
from almoner.errors import ProtocolError
from almoner.protection.message import HEADER_BYTES
from almoner.protection.scheme import MAX_ADDENDS, VALUE_BOUND

KEY = BfvKey.generate()
SITE = BfvScheme.for_site(3, KEY)
SERVER = BfvScheme.for_server(3)
ONES = np.ones(3, dtype=np.int64)
Q, T = 1152921504606830593, 70368743669761


def test_parameters_are_128_bit_secure_and_pinned():
    chosen = context().first_context_data().parms()
    assert [modulus.value() for modulus in chosen.coeff_modulus()] == [Q]
    assert chosen.plain_modulus().value() == T
    most_bits = seal.CoeffModulus.MaxBitCount(POLY_MODULUS_DEGREE, seal.SEC_LEVEL_TYPE.TC128)
    assert sum(COEFF_MODULUS_BITS) <= most_bits == 109
    assert parameters_id().hex() == "119e28ae08b04d5a4c6ffaf9ba4c3157"


def test_size_is_about_one_float32_an_entry():
    scheme = BfvScheme.for_server(1_000_000)
    assert scheme.message_bytes == HEADER_BYTES + 123 * 32_832
    assert scheme.total_bytes == HEADER_BYTES + 123 * 65_536
    assert scheme.message_bytes / 4e6 < 1.01


def test_noise_of_the_most_addends_leaves_room():
    total = SERVER.combine([SITE.protect(ONES * VALUE_BOUND) for _ in range(MAX_ADDENDS)])
    with Workspace() as work:
        cipher = work.load(seal.Ciphertext(), frames().total.wrap(total[HEADER_BYTES:]), "total")
        secret = work.load(seal.SecretKey(), KEY.saved(), "key")
    assert seal.Decryptor(context(), secret).invariant_noise_budget(cipher) >= 3


@pytest.mark.threat("T-12")
def test_the_server_reads_plain_messages_and_holds_no_key_for_encrypted_ones():
    plain = PlainScheme(len(ONES))
    assert np.array_equal(plain.open(plain.combine([plain.protect(ONES)]), 1), ONES)
    for act in (lambda: SERVER.protect(ONES), lambda: SERVER.open(SERVER.combine([SITE.protect(ONES)]), 1)):
        with pytest.raises(ProtocolError, match="holds no key"):
            act()


@pytest.mark.parametrize("dimension", [1, VALUES_PER_CHUNK])
def test_another_key_does_not_open(dimension):
    values = np.zeros(dimension, dtype=np.int64)
    total = BfvScheme.for_server(dimension).combine([BfvScheme.for_site(dimension, KEY).protect(values)] * MAX_ADDENDS)
    with pytest.raises(ProtocolError, match="wrong key"):
        BfvScheme.for_site(dimension, BfvKey.generate()).open(total, MAX_ADDENDS)


def test_one_message_under_another_key_does_not_open():
    stranger = BfvScheme.for_site(3, BfvKey.generate()).protect(ONES)
    with pytest.raises(ProtocolError, match="wrong key"):
        SITE.open(SERVER.combine([SITE.protect(ONES), stranger]), 2)


def test_a_stored_key_opens_what_the_first_one_protected():
    again = BfvScheme.for_site(3, BfvKey.from_bytes(KEY.to_bytes()))
    assert again.open(SERVER.combine([SITE.protect(ONES), again.protect(ONES)]), 2).tolist() == [2, 2, 2]


def test_coefficients_beyond_the_modulus_are_refused():
    message = SITE.protect(ONES)
    for start in (HEADER_BYTES, HEADER_BYTES + 4095 * 8):
        bad = message[:start] + Q.to_bytes(8, "little") + message[start + 8 :]
        with pytest.raises(ProtocolError, match="message 2 of 2: SEAL refuses it"):
            SERVER.combine([message, bad])


def test_equal_values_give_unrelated_messages():
    bodies = [SITE.protect(ONES)[HEADER_BYTES:] for _ in range(20)]
    assert len({body[-64:] for body in bodies}) == 20
    # Two unrelated ciphertexts agree in one coefficient with probability 2^-60.
    first, second = (np.frombuffer(body[:-64], dtype="<u8") for body in bodies[:2])
    assert not (first == second).any()


def test_a_forked_process_draws_its_own_randomness():
    SITE.protect(ONES)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, SITE.protect(ONES)[-64:])
        os._exit(0)
    own = SITE.protect(ONES)[-64:]
    os.waitpid(child, 0)
    theirs = os.read(read, 64)
    os.close(read)
    os.close(write)
    assert len(theirs) == 64
    assert theirs != own


def test_neither_message_nor_total_holds_the_key_or_a_context():
    secret = KEY.to_bytes()[-4096 * 8 :]
    message = SITE.protect(ONES)
    for data in (message, SERVER.combine([message])):
        assert secret[:32] not in data
    assert len(message) == SITE.message_bytes == HEADER_BYTES + 4096 * 8 + 64


def forged_total(slot: int, factor: int) -> bytes:
    """Return a server's forgery (0, Δ·P), P with `factor` in one slot: opens to factor times that slot of the key."""
    values = [0] * 4096
    values[slot] = factor
    plain = seal.Plaintext()
    seal.BatchEncoder(context()).encode(values, plain)
    coefficients = [plain.data(index) if index < plain.coeff_count() else 0 for index in range(4096)]
    delta = b"".join(((Q * value + T // 2) // T % Q).to_bytes(8, "little") for value in coefficients)
    server = BfvScheme.for_server(VALUES_PER_CHUNK)
    honest = server.combine([BfvScheme.for_site(VALUES_PER_CHUNK, KEY).protect(np.zeros(VALUES_PER_CHUNK, np.int64))])
    header = honest[:7] + bytes([MAX_ADDENDS]) + honest[8:HEADER_BYTES]
    return header + bytes(4096 * 8) + delta


def test_known_limit_a_lying_server_reads_the_key():
    """Holds the docstring to its word; integrity tags will turn this test round."""
    site = BfvScheme.for_site(VALUES_PER_CHUNK, KEY)
    offset = MAX_ADDENDS * VALUE_BOUND
    for slot in range(400):  # a slot opens with probability 0.15: all 400 fail with 6e-29
        try:
            opened = site.open(forged_total(slot, 1), MAX_ADDENDS) + offset
        except ProtocolError:
            continue
        part_of_key = int(opened[slot]) + (int(opened[4096 + slot]) << FIELD_BITS)
        check = site.open(forged_total(slot, 5 * pow(part_of_key, -1, T) % T), MAX_ADDENDS) + offset
        assert (check[slot], np.count_nonzero(check)) == (5, 1)
        return
    pytest.fail("no forged total opened: say so in the docstring of bfv.py")
