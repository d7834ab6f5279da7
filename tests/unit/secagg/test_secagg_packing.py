"""Packing: any sum of so many vectors is exact, and what could wrap is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.errors import ProtocolError
from almoner.secagg.blocks import BLOCK_VALUES, blocks
from almoner.secagg.packing import Packing

LIMIT = 32_767


def packed(packing: Packing, values: np.ndarray) -> np.ndarray:
    words = np.empty(packing.num_words(values.size), dtype=packing.dtype)
    for block in blocks(values.size):
        words[packing.words(block)] = packing.pack(values[block])
    return words


def unpacked(packing: Packing, words: np.ndarray, dimension: int, count: int) -> np.ndarray:
    parts = [
        packing.unpack(words[packing.words(block)], block.stop - block.start, count) for block in blocks(dimension)
    ]
    return np.concatenate(parts)


LAYOUTS = [
    (3, LIMIT, 3, 21, 8 / 3),
    (32, LIMIT, 3, 21, 8 / 3),
    (33, LIMIT, 1, 64, 4),
    (50, LIMIT, 1, 64, 4),
    (5, 511, 4, 16, 2),
    (4, 511, 5, 12, 8 / 5),
    (50, 511, 4, 16, 2),
    (5, 7, 9, 7, 8 / 9),
]


@pytest.mark.parametrize(("num_sites", "limit", "fields", "field_bits", "bytes_a_value"), LAYOUTS)
def test_as_many_values_share_a_word_as_fit(num_sites, limit, fields, field_bits, bytes_a_value):
    packing = Packing(num_sites, limit)
    assert (packing.fields, packing.field_bits) == (fields, field_bits)
    assert packing.num_bytes(3_000_000) == pytest.approx(3_000_000 * bytes_a_value, rel=2e-4)


@pytest.mark.parametrize("num_sites", [1, 3, 10])
def test_sixteen_bits_lie_where_they_always_did(num_sites):
    packing, values = Packing(num_sites + 1, LIMIT), np.arange(-5, 5)
    words = packing.pack(values).tolist()
    fields = np.append(values + LIMIT, [0, 0]).reshape(3, 4).T.tolist()
    assert words == [low + (middle << 21) + (high << 42) for low, middle, high in fields]
    assert packing.num_words(BLOCK_VALUES + 4) == -(-(BLOCK_VALUES + 4) // 3)


@given(
    st.integers(1, 50),
    st.integers(2, 16),
    st.sampled_from([1, 2, 3, 4, 100, BLOCK_VALUES - 1, BLOCK_VALUES, BLOCK_VALUES + 1, 2 * BLOCK_VALUES + 3]),
    st.data(),
)
@settings(max_examples=80, deadline=None)
def test_sums_of_up_to_the_most_vectors_are_exact_modulo_the_word(num_sites, bits, dimension, data):
    limit = 2 ** (bits - 1) - 1
    packing = Packing(num_sites, limit)
    count = data.draw(st.integers(1, num_sites))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    rows = (
        rng.choice([-limit, limit, 0, 1], (count, dimension))
        if rng.random() < 0.5
        else rng.integers(-limit, limit + 1, (count, dimension))
    )
    mask = rng.integers(0, 2**63, packing.num_words(dimension)).astype(packing.dtype)
    words = mask.copy()
    for row in rows:
        words += packed(packing, row)
    words -= mask
    assert np.array_equal(unpacked(packing, words, dimension, count), rows.sum(axis=0))


@pytest.mark.parametrize(("num_sites", "limit"), [(32, LIMIT), (50, LIMIT), (64, 511), (31, 1023), (5, 7)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_extremes_do_not_carry(num_sites, limit, sign):
    packing, entry = Packing(num_sites, limit), sign * limit
    values = np.full(10, entry)
    total = sum((packing.pack(values) for _ in range(num_sites - 1)), packing.pack(values))
    assert packing.unpack(total, 10, num_sites).tolist() == [num_sites * entry] * 10


@pytest.mark.parametrize(("num_sites", "limit"), [(32_769, 65_536), (1, 2**31), (0, 10), (3, 0)])
def test_what_could_wrap_is_refused(num_sites, limit):
    with pytest.raises(ProtocolError, match="could wrap"):
        Packing(num_sites, limit)


def test_the_largest_parameters_that_fit_are_exact():
    packing = Packing(32_767, 65_536)
    total = np.array([2 * 65_536 * 32_767], dtype=packing.dtype)
    assert packing.unpack(total, 1, 32_767).tolist() == [65_536 * 32_767]


@pytest.mark.parametrize("num_sites", [5, 50])
def test_words_that_are_no_sum_are_refused(num_sites):
    packing = Packing(num_sites, LIMIT)
    words = packing.pack(np.full(4, LIMIT)) * packing.dtype.type(3)
    packing.unpack(words, 4, 3)
    with pytest.raises(ProtocolError, match="no sum of so many addends"):
        packing.unpack(words, 4, 2)
    bits = np.arange(packing.dtype.itemsize * 8)
    for bit in bits[bits % 21 >= 19] if num_sites == 5 else bits[24:]:
        with pytest.raises(ProtocolError, match="no sum of so many addends"):
            packing.unpack(packing.pack(np.zeros(4, dtype=np.int64)) | packing.dtype.type(1 << int(bit)), 4, 3)


def test_fields_past_the_end_must_be_zero():
    packing = Packing(5, LIMIT)
    words = packing.pack(np.zeros(4, dtype=np.int64))
    assert words.size == 2
    words[1] += np.uint64(1 << 42)
    with pytest.raises(ProtocolError, match="no sum of so many addends"):
        packing.unpack(words, 4, 1)


def test_values_are_not_modified():
    values = np.arange(-5, 5)
    values.flags.writeable = False
    Packing(5, LIMIT).pack(values)
