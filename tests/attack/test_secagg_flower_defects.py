"""The defects found in Flower's SecAgg+ (flwr 1.42), each tried here: seeds of 32 bits, a Mersenne Twister, numbers in
clear, unauthenticated keys (`test_secagg_lying_server.py`), both shares of one site (there too), and a drop between
set-up and sharing.
"""

import numpy as np
import pytest
from tests.attack.lying_server import LyingServer
from tests.simulator import Simulation, losing, running, snapshot

from almoner.protection import boxes
from almoner.protection.message import HEADER_BYTES
from almoner.secagg import masking, shamir
from almoner.secagg.masking import Mask, Masker, RingRound
from almoner.secagg.offers import announce

TRANSCRIPT = bytes(32)


def keystream(secret: bytes, size: int) -> np.ndarray:
    words = np.zeros(size, dtype="<u4")
    Masker([Mask(secret, TRANSCRIPT, 1, 1)], words.dtype).apply(words)
    return words


def seed_of(words: np.ndarray, bits: int) -> int | None:
    """Try every seed of so few bits."""
    for seed in range(2**bits):
        if np.array_equal(keystream(seed.to_bytes(32, "big"), words.size), words):
            return seed
    return None


@pytest.mark.threat("T-36")
def test_seeds_folded_to_few_bits_would_be_found_and_ours_are_not_folded(monkeypatch):
    """The attack tries 2^12 seeds here; Flower's had 2^28."""
    secret = bytes(range(1, 33))
    made_for = RingRound(TRANSCRIPT, 1, bytes(32), ("ada", "bob"))

    def words() -> np.ndarray:
        found = np.zeros(4, dtype="<u4")
        Masker([made_for.self_mask(secret, "ada")], found.dtype).apply(found)
        return found

    honest = boxes.derive
    with monkeypatch.context() as patch:
        patch.setattr(masking, "derive", lambda *a: (int.from_bytes(honest(*a), "big") % 2**12).to_bytes(32, "big"))
        assert seed_of(words(), 12) is not None
    assert seed_of(words(), 12) is None


@pytest.mark.threat("T-36")
def test_every_bit_of_a_secret_changes_the_mask():
    """256 bits of secret go in: no two of the 257 secrets that differ in at most one bit share a stream."""
    secret = int.from_bytes(bytes(range(1, 33)), "big")
    made_for = RingRound(TRANSCRIPT, 1, bytes(32), ("ada", "bob"))
    streams = set()
    for flipped in [0, *(1 << bit for bit in range(256))]:
        words = np.zeros(2, dtype="<u8")
        Masker([made_for.self_mask((secret ^ flipped).to_bytes(32, "big"), "ada")], words.dtype).apply(words)
        streams.add(words.tobytes())
    assert len(streams) == 257


@pytest.mark.threat("T-36")
def test_secrets_are_drawn_with_all_their_bits():
    """Every bit of b and of the mask key is seen as 0 and as 1 in 64 draws; false alarm below 512 · 2^-63."""
    drawn = [int.from_bytes(shamir.draw_secret(), "big") for _ in range(64)]
    either, both = 0, -1
    for secret in drawn:
        either, both = either | secret, both & secret
    assert either == 2**256 - 1
    assert both == 0


def next_of_mersenne_twister(words: np.ndarray) -> np.ndarray:
    """Return what comes after 624 outputs of a Mersenne Twister, by inverting its output function."""

    def untempered(word: int) -> int:
        word ^= word >> 18
        word ^= (word << 15) & 0xEFC60000
        result = word
        for _ in range(5):
            result = word ^ ((result << 7) & 0x9D2C5680)
        word = result
        for _ in range(3):
            result = word ^ (result >> 11)
        return result & 0xFFFFFFFF

    state = np.array([untempered(int(word)) for word in words[:624]], dtype=np.uint32)
    generator = np.random.RandomState()
    generator.set_state(("MT19937", state, 624))
    return generator.randint(0, 2**32, words.size - 624, dtype=np.uint32)


@pytest.mark.threat("T-36")
def test_known_entries_would_give_the_rest_of_a_mersenne_twister_and_give_nothing_of_ours():
    """624 entries whose values the server knows (of a frozen layer, say) lay bare as many words of mask."""
    flower = np.random.RandomState(12345).randint(0, 2**32, 1000, dtype=np.uint32)
    assert np.array_equal(next_of_mersenne_twister(flower), flower[624:])
    ours = keystream(bytes(range(32)), 1000)
    assert not (next_of_mersenne_twister(ours) == ours[624:]).any()


@pytest.mark.threat("T-12")
def test_nothing_that_depends_on_data_travels_outside_the_masks():
    """The same site, with the same secrets, sends other values: all but words, tag and signature is the same."""
    server = LyingServer(running(4))
    ring, sent = server.ring(*server.names), []
    for values in (np.zeros(7, dtype=np.int64), np.arange(7) * 1000):
        side = snapshot(server.job.sites["site-1"])
        side.begin(1, ring.sites, announce(ring.offers))
        sent.append(side.protect(1, values))
    assert sent[0] != sent[1]
    assert len(sent[0]) == len(sent[1]) == HEADER_BYTES + 3 * 8 + 8 + 64
    assert sent[0][:HEADER_BYTES] == sent[1][:HEADER_BYTES]


@pytest.mark.threat("T-36")
@pytest.mark.parametrize("task", ["keys", "confirm", "agree", "conclude"])
def test_a_drop_at_any_point_of_the_set_up_leaves_the_others_going(task):
    job = Simulation.of("secagg", 5)
    job.shown = losing((0, task, "site-3"))
    others = ("site-1", "site-2", "site-4", "site-5")
    assert job.set_up() == others
    for number in (1, 2):
        assert job.round(number).contributors == others
        opened = job.open_all(number)
        assert set(opened) == set(others)
        assert all(np.array_equal(sums, job.sum_of(number, others)) for sums in opened.values())


@pytest.mark.threat("T-36")
def test_a_drop_between_conclude_and_the_first_round():
    job = running(5)
    job.heard = lambda question, site, said: None if (question.number, site) == (1, "site-3") else said
    total = job.round(1)
    assert "site-3" not in total.contributors
    assert np.array_equal(job.open_all(1)["site-1"], job.sum_of(1, total.contributors))
