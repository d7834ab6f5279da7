"""Packing: two values a slot, a count, two tags; sums of up to 50 without a carry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.encryption.bfv_parameters import PLAIN_MODULUS
from almoner.encryption.packing import (
    BLOCK_CHUNKS,
    FIELD_BITS,
    NUM_TAGS,
    SLOTS,
    Layout,
    join_fields,
    put_fields,
    split_fields,
    take_fields,
)
from almoner.protection.scheme import MAX_ADDENDS, VALUE_BOUND

BLOCK = BLOCK_CHUNKS * SLOTS
EDGES = [1, 2, 3, 8184, 8185, 8186, 8187, 8188, 8192, 8193, 2 * BLOCK - 7, 2 * BLOCK - 6, 2 * BLOCK, 2 * BLOCK + 1]
dimensions = st.one_of(st.integers(1, 20_000), st.sampled_from(EDGES))


def pack(values):
    layout = Layout(values.size)
    return [join_fields(put_fields(layout, block, values)) for block in layout.blocks()]


def unpack(slots, dimension, addends):
    layout, sums = Layout(dimension), np.full(dimension, -(10**9))
    sound = [
        take_fields(layout, block, split_fields(part), addends, sums)
        for block, part in zip(layout.blocks(), slots, strict=True)
    ]
    return sums, all(sound)


def test_a_field_and_a_slot_hold_the_largest_sum():
    largest = MAX_ADDENDS * 2 * VALUE_BOUND
    assert largest < 2**FIELD_BITS
    assert largest + (largest << FIELD_BITS) < PLAIN_MODULUS


@given(dimensions, st.integers(1, MAX_ADDENDS), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_sums_are_exact(dimension, addends, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-VALUE_BOUND - 9, VALUE_BOUND + 10, (addends, dimension))
    packed = [pack(vector) for vector in vectors]
    sums, sound = unpack([sum(parts) for parts in zip(*packed, strict=True)], dimension, addends)
    assert sound
    assert np.array_equal(sums, np.clip(vectors, -VALUE_BOUND, VALUE_BOUND).sum(axis=0))


@given(dimensions)
@settings(deadline=None)
def test_every_entry_count_and_tag_has_a_place_of_its_own(dimension):
    layout = Layout(dimension)
    blocks = list(layout.blocks())
    low = [entry for block in blocks for entry in range(dimension)[layout.entries(block)[0]]]
    high = [entry for block in blocks for entry in range(dimension)[layout.entries(block)[1]]]
    assert low + high == list(range(dimension))
    assert 0 <= len(low) - len(high) <= 1
    assert [slot for block in blocks for slot in block] == list(range(layout.num_chunks * SLOTS))
    assert list(layout.tag_slots) == [len(low) + 1, len(low) + NUM_TAGS]
    assert 0 <= layout.num_chunks * SLOTS - layout.tag_slots.stop < SLOTS


@pytest.mark.parametrize("dimension", [7, 8192])
def test_a_field_above_the_largest_sum_is_seen(dimension):
    total = [2 * part for part in pack(np.full(dimension, VALUE_BOUND))]
    assert unpack(total, dimension, 2)[1]
    for slot in (0, dimension // 2 - 1):
        for shift in (0, FIELD_BITS):
            total[0][slot] += 1 << shift
            assert not unpack(total, dimension, 2)[1]
            total[0][slot] -= 1 << shift


def test_another_count_and_anything_behind_it_are_seen():
    total = [2 * part for part in pack(np.zeros(6, dtype=np.int64))]
    assert unpack(total, 6, 2)[1]
    assert not unpack(total, 6, 3)[1]
    for slot in (3, 6, SLOTS - 1):
        for shift in (0, FIELD_BITS):
            total[0][slot] += 1 << shift
            assert not unpack(total, 6, 2)[1]
            total[0][slot] -= 1 << shift


def test_the_unused_high_field_of_an_odd_dimension_stays_zero():
    total = pack(np.zeros(5, dtype=np.int64))
    assert unpack(total, 5, 1)[1]
    total[0][2] += 1 << FIELD_BITS
    assert not unpack(total, 5, 1)[1]
