"""Masks: vectors, cancelling, one mask per purpose, and no copies beyond one block."""

import tracemalloc

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.secagg.secagg_cases import vectors

from almoner.errors import ProtocolError
from almoner.secagg.masking import Mask, Masker, RingRound, mask_tag
from almoner.secagg.tag import PRIME

TRANSCRIPT, RING_DIGEST, SITES = bytes(range(32)), bytes(range(100, 132)), ("ada", "bob", "cyd")
ROUND = RingRound(TRANSCRIPT, 7, RING_DIGEST, SITES)
SECRET = bytes(range(200, 232))
KEYS = {
    "ada": X25519PrivateKey.from_private_bytes(bytes(range(1, 33))),
    "cyd": X25519PrivateKey.from_private_bytes(bytes(range(33, 65))),
}
PUBLIC = {site: key.public_key().public_bytes_raw() for site, key in KEYS.items()}


def words_of(masks: list[Mask], size: int, dtype: str = "<u8") -> np.ndarray:
    words = np.zeros(size, dtype=dtype)
    Masker(masks, words.dtype).apply(words)
    return words


@pytest.mark.parametrize("case", vectors()["masks"], ids=lambda case: case["name"])
@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
def test_masks_are_those_of_the_vectors(case, dtype):
    if case["name"] == "self":
        masks = [ROUND.self_mask(SECRET, "bob")]
    else:
        masks = [ROUND.pair_mask(KEYS["ada"], "ada", "cyd", PUBLIC["cyd"])]
    stream = bytes.fromhex(case["stream"])
    assert words_of(masks, len(stream) // np.dtype(dtype).itemsize, dtype).tobytes() == stream
    assert mask_tag(0, masks) == case["tag_pad"]


def test_the_two_ends_of_a_pair_cancel():
    masks = [ROUND.pair_mask(KEYS["ada"], "ada", "cyd", PUBLIC["cyd"])]
    assert words_of(masks, 4).any()
    masks.append(ROUND.pair_mask(KEYS["cyd"], "cyd", "ada", PUBLIC["ada"]))
    assert [mask.sign for mask in masks] == [1, -1]
    assert not words_of(masks, 20_000).any()
    assert mask_tag(5, masks) == 5


@given(st.integers(0, 2**32), st.integers(1, 40_000), st.sampled_from(["<u4", "<u8"]))
@settings(max_examples=20, deadline=None)
def test_masks_come_off_again_in_any_pieces(seed, size, dtype):
    rng = np.random.default_rng(seed)
    masks = [Mask(rng.bytes(32), TRANSCRIPT, 1, int(sign)) for sign in rng.choice([-1, 1], 4)]
    words = rng.integers(0, 2**31, size).astype(dtype)
    masked = words.copy()
    Masker(masks, words.dtype).apply(masked)
    assert not np.array_equal(masked, words)
    masker = Masker([-mask for mask in masks], words.dtype)
    cuts = sorted(rng.integers(0, size, 3))
    for part in np.split(masked, cuts):
        masker.apply(part)
    assert np.array_equal(masked, words)
    tag = int(rng.integers(0, PRIME))
    assert mask_tag(mask_tag(tag, masks), [-mask for mask in masks]) == tag


def test_every_purpose_has_a_mask_of_its_own():
    rounds = [
        ROUND,
        RingRound(bytes(32), 7, RING_DIGEST, SITES),
        RingRound(TRANSCRIPT, 8, RING_DIGEST, SITES),
        RingRound(TRANSCRIPT, 7, bytes(32), SITES),
    ]
    masks = [made.self_mask(SECRET, site) for made in rounds for site in SITES]
    masks += [made.pair_mask(KEYS["ada"], "ada", peer, PUBLIC["cyd"]) for made in rounds for peer in ("bob", "cyd")]
    assert len({words_of([mask], 4).tobytes() for mask in masks}) == len(masks)
    assert len({abs(mask.tag_pad) for mask in masks}) == len(masks)


def test_a_peer_with_a_key_of_low_order_is_refused():
    with pytest.raises(ProtocolError, match="mask key of bob"):
        ROUND.pair_mask(KEYS["ada"], "ada", "bob", bytes(32))


def test_masking_holds_one_block_and_no_copy():
    words = np.zeros(3_000_000, dtype="<u8")
    masks = [Mask(bytes([k]) * 32, TRANSCRIPT, 1, 1) for k in range(10)]
    tracemalloc.start()
    Masker(masks, words.dtype).apply(words)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000
