"""Values modulo p: nothing saturates, sums wrap, and the tag verifies what wrapped as well as what did not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulator import Simulation, losing, terms_of

from almoner.errors import ProtocolError
from almoner.protection.message import HEADER_BYTES
from almoner.secagg.masking import Mask, Masker
from almoner.secagg.modular import ModularPacking, packing_of
from almoner.secagg.packing import Packing
from almoner.secagg.tag import PRIME, RoundTag

TAG = RoundTag(b"k" * 32, b"t" * 32, 1)
ANY = st.integers(-(2**63), 2**63 - 1)


def residue(value: int) -> int:
    """Return the signed residue of a number modulo p."""
    return (value + PRIME // 2) % PRIME - PRIME // 2


def modular(num_sites: int = 5, **terms: int) -> Simulation:
    return Simulation.of("secagg", num_sites, limit=0, **terms)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(ANY, ANY), min_size=1, max_size=50))
def test_sums_are_residues_whatever_the_values(vectors: list[tuple[int, int]]) -> None:
    packing = ModularPacking()
    total = np.zeros(2, dtype=packing.dtype)
    for vector in vectors:
        values = np.array(vector, dtype=np.int64)
        packing.add(total, packing.pack(packing.admit(values, values)))
    expected = [residue(sum(vector[place] for vector in vectors)) for place in range(2)]
    assert packing.unpack(total, 2, len(vectors)).tolist() == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(ANY, min_size=1, max_size=30), st.lists(ANY, min_size=1, max_size=30))
def test_the_tag_is_linear_modulo_p(first: list[int], second: list[int]) -> None:
    size = min(len(first), len(second))
    one, other = (np.array(values[:size], dtype=np.int64) for values in (first, second))
    total = np.array([residue(a + b) for a, b in zip(one.tolist(), other.tolist(), strict=True)], dtype=np.int64)
    found = []
    for values in (one, other, total):
        running = TAG.running(None)
        running.add(values)
        found.append(running.value())
    assert (found[0] + found[1]) % PRIME == found[2]


def test_small_values_have_the_same_tag_as_without_a_modulus() -> None:
    values = np.arange(-5, 20)
    wide, plain = TAG.running(None), TAG.running(100)
    wide.add(values)
    plain.add(values)
    assert wide.value() == plain.value()


def test_masks_come_off_and_hide() -> None:
    words = np.arange(1000, dtype=np.uint64)
    masks = [Mask(bytes([k]) * 32, b"t" * 32, 1, sign) for k, sign in enumerate((1, -1, 1))]
    masked = words.copy()
    Masker(masks, words.dtype, PRIME).apply(masked)
    assert (masked < PRIME).all()
    assert not (masked == words).any()
    Masker([-mask for mask in masks], words.dtype, PRIME).apply(masked)
    assert (masked == words).all()


def test_masked_words_are_uniform_modulo_p() -> None:
    """Two statistics of 2^16 words, each beyond 6 standard errors with probability below 1e-8."""
    words = np.full(2**16, PRIME - 1, dtype=np.uint64)
    Masker([Mask(b"m" * 32, b"t" * 32, 1, 1)], words.dtype, PRIME).apply(words)
    shares = words.astype(np.float64) / PRIME
    assert abs(shares.mean() - 0.5) < 6 * np.sqrt(1 / 12 / shares.size)
    assert abs((shares**2).mean() - 1 / 3) < 6 * np.sqrt(4 / 45 / shares.size)


def test_every_site_opens_the_sum_that_wrapped() -> None:
    job = modular()
    job.values = lambda number, site: np.array([2**62, -(2**62), 2**60, -(2**60), 5, -5, 0])  # type: ignore[method-assign]
    job.set_up()
    job.round(1)
    opened = job.open_all(1)
    expected = [residue(5 * value) for value in (2**62, -(2**62), 2**60, -(2**60), 5, -5, 0)]
    assert {site: sums.tolist() for site, sums in opened.items()} == dict.fromkeys(job.sites, expected)
    assert expected[0] != 5 * 2**62, "this sum wraps"


def test_a_site_that_drops_out_is_unmasked_modulo_p() -> None:
    job = modular()
    job.shown = losing((1, "train", "site-2"))
    job.values = lambda number, site: np.arange(7) * 2**58  # type: ignore[method-assign]
    job.set_up()
    assert job.round(1).contributors == ("site-1", "site-3", "site-4", "site-5")
    assert job.open_all(1)["site-1"].tolist() == [residue(4 * k * 2**58) for k in range(7)]


@pytest.mark.threat("T-37")
def test_a_sum_that_was_changed_by_any_residue_does_not_open() -> None:
    job = modular()
    job.values = lambda number, site: np.arange(7)  # type: ignore[method-assign]
    job.set_up()
    total = job.round(1)
    body = bytearray(total.body)
    word = int.from_bytes(body[HEADER_BYTES : HEADER_BYTES + 8], "little")
    body[HEADER_BYTES : HEADER_BYTES + 8] = ((word + 2**60) % PRIME).to_bytes(8, "little")
    with pytest.raises(ProtocolError, match="tag does not verify"):
        job.sites["site-1"].open(1, total.contributors, bytes(body))


def test_a_word_that_is_no_residue_does_not_open() -> None:
    with pytest.raises(ProtocolError, match="no residue"):
        ModularPacking().unpack(np.array([PRIME], dtype=np.uint64), 1, 3)


def test_terms_without_a_limit_are_of_secret_sharing_alone() -> None:
    assert isinstance(packing_of(5, 0), ModularPacking)
    assert isinstance(packing_of(5, 1), Packing)
    with pytest.raises(ProtocolError, match="limit 0"):
        terms_of("he", ("site-1", "site-2", "site-3"), limit=0)
