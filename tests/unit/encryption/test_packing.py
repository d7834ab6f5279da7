"""Packing: two values a slot, sums of up to 50 without a carry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.encryption.packing import FIELD_BITS, SLOTS, VALUES_PER_CHUNK, num_chunks, pack, unpack
from almoner.errors import ProtocolError
from almoner.protection.scheme import MAX_ADDENDS, VALUE_BOUND


def test_a_field_holds_the_largest_sum():
    assert MAX_ADDENDS * 2 * VALUE_BOUND < 2**FIELD_BITS


@given(st.integers(1, 20_000), st.integers(1, MAX_ADDENDS), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_sums_are_exact(dimension, addends, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-VALUE_BOUND, VALUE_BOUND + 1, (addends, dimension))
    slots = sum(pack(vector) for vector in vectors)
    assert slots.shape == (num_chunks(dimension), SLOTS)
    assert slots.min() >= 0
    assert slots.max() < 2 ** (2 * FIELD_BITS)
    assert np.array_equal(unpack(slots, dimension, addends), vectors.sum(axis=0))


@pytest.mark.parametrize(("dimension", "chunks"), [(1, 1), (VALUES_PER_CHUNK, 1), (VALUES_PER_CHUNK + 1, 2)])
def test_num_chunks(dimension, chunks):
    assert num_chunks(dimension) == chunks


@pytest.mark.parametrize("slot", [0, SLOTS - 1])
@pytest.mark.parametrize("shift", [0, FIELD_BITS])
def test_refuses_a_field_above_the_largest_sum(slot, shift):
    slots = sum(pack(np.full(VALUES_PER_CHUNK, VALUE_BOUND, dtype=np.int64)) for _ in range(2))
    assert unpack(slots, VALUES_PER_CHUNK, 2).max() == 2 * VALUE_BOUND
    slots[0, slot] += 1 << shift
    with pytest.raises(ProtocolError, match="wrong key"):
        unpack(slots, VALUES_PER_CHUNK, 2)


def test_refuses_anything_behind_the_vector():
    slots = pack(np.zeros(5, dtype=np.int64))
    slots[0, 5] += 1
    with pytest.raises(ProtocolError, match="wrong key"):
        unpack(slots, 5, 1)
