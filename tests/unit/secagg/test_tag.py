"""The tag: vectors, linearity over any values, pads that bind round and site, and sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.secagg.secagg_cases import vectors

from almoner.errors import ProtocolError
from almoner.secagg.blocks import BLOCK_VALUES, blocks
from almoner.secagg.tag import MAX_VALUE, PRIME, ROW_VALUES, RoundTag, decode_tag, encode_tag

KEY, TRANSCRIPT = bytes(range(50, 82)), bytes(range(32))
TAG = RoundTag(KEY, TRANSCRIPT, 7)


def tag_of(values: np.ndarray, tag: RoundTag = TAG) -> int:
    running = tag.running(MAX_VALUE)
    for block in blocks(values.size):
        running.add(values[block])
    return running.value()


def test_tag_and_pad_are_those_of_the_vectors():
    case = vectors()["tag"]
    values = (np.arange(case["num_values"]) * 7919 + 13) % 65535 - 32767
    assert tag_of(values) == case["tag"]
    assert TAG.pad("bob") == case["pad"]


@given(st.integers(0, 2**32), st.sampled_from([1, 5, ROW_VALUES, ROW_VALUES + 1, BLOCK_VALUES, 2 * BLOCK_VALUES + 3]))
@settings(max_examples=25, deadline=None)
def test_tags_of_vectors_add_up_to_the_tag_of_their_sum(seed, dimension):
    rows = np.random.default_rng(seed).integers(-32_767, 32_768, (50, dimension))
    rows[:, 0] = 32_767
    assert sum(tag_of(row) for row in rows) % PRIME == tag_of(rows.sum(axis=0))


def test_the_largest_values_are_exact():
    ones, row = np.ones(ROW_VALUES, dtype=np.int64), MAX_VALUE * np.ones(ROW_VALUES, dtype=np.int64)
    assert tag_of(row) == MAX_VALUE * tag_of(ones) % PRIME
    assert tag_of(-row) == -MAX_VALUE * tag_of(ones) % PRIME
    with pytest.raises(ProtocolError, match="add exactly"):
        TAG.running(MAX_VALUE + 1)


@pytest.mark.parametrize("place", [0, ROW_VALUES - 1, ROW_VALUES, BLOCK_VALUES, 2 * BLOCK_VALUES])
def test_every_entry_counts(place):
    values = np.zeros(2 * BLOCK_VALUES + 1, dtype=np.int64)
    values[place] = 1
    assert tag_of(values) not in (0, tag_of(np.roll(values, 1)))


def test_round_site_key_and_job_all_change_the_numbers():
    others = [RoundTag(KEY, TRANSCRIPT, 8), RoundTag(bytes(32), TRANSCRIPT, 7), RoundTag(KEY, bytes(32), 7)]
    values = np.arange(10)
    assert len({tag_of(values, tag) for tag in [TAG, *others]}) == 4
    assert len({tag.pad(site) for tag in [TAG, *others] for site in ("ada", "bob")}) == 8


def test_encoding_refuses_numbers_beyond_the_prime():
    assert decode_tag(encode_tag(PRIME - 1), "tag") == PRIME - 1
    for data in (PRIME.to_bytes(8, "little"), b"\xff" * 8, bytes(7), bytes(9)):
        with pytest.raises(ProtocolError, match="below 2"):
            decode_tag(data, "tag")
