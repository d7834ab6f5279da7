"""The tags: exact against big integers, additive, and bound to key, job, round and sites."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.encryption.bfv_parameters import PLAIN_MODULUS
from almoner.encryption.packing import BLOCK_CHUNKS, FIELD_BITS, SLOTS
from almoner.encryption.slot_tags import SlotTags, pads
from almoner.protection.boxes import derive
from almoner.protection.stream import Stream

KEY, TRANSCRIPT = bytes(range(32)), bytes(32)
PINNED = [4477783973249, 17053486698486]
NO_PADS = np.zeros(2, dtype=np.int64)
BLOCK = BLOCK_CHUNKS * SLOTS


def tags_of(fields, blocks, pad=NO_PADS, number=1, key=KEY, transcript=TRANSCRIPT):
    tags = SlotTags(key, transcript, number)
    for start, stop in itertools.pairwise(blocks):
        tags.absorb(fields[:, start:stop])
    return tags.values(pad).tolist()


def slow_tags(fields):
    """The same from the definition, in Python's integers."""
    stream = np.empty(12 * fields.shape[1], dtype=np.uint8)
    Stream(derive(KEY, b"almoner-he-tag-1", TRANSCRIPT, 1, "")).fill(stream)
    factors = [int.from_bytes(stream[start : start + 6].tobytes(), "little") for start in range(0, stream.size, 6)]
    slots = [low + (high << FIELD_BITS) for low, high in fields.T.tolist()]
    return [
        sum(slot * factor for slot, factor in zip(slots, factors[tag::2], strict=True)) % PLAIN_MODULUS
        for tag in (0, 1)
    ]


def random_fields(seed, slots):
    return np.random.default_rng(seed).integers(0, 1 << FIELD_BITS, (2, slots))


@given(st.integers(1, 3000), st.integers(0, 2**32), st.integers(1, 2999))
@settings(max_examples=25, deadline=None)
def test_exact_whatever_the_blocks(slots, seed, cut):
    fields = random_fields(seed, slots)
    assert tags_of(fields, [0, min(cut, slots), slots]) == slow_tags(fields)


def test_exact_for_the_largest_fields_in_the_largest_block():
    fields = np.full((2, BLOCK), (1 << FIELD_BITS) - 1)
    assert tags_of(fields, [0, BLOCK]) == slow_tags(fields)


def test_tags_add_as_slots_do():
    rows = [random_fields(seed, 500) >> 4 for seed in range(3)]
    sites = ("ada", "bob", "cyd")
    each = [tags_of(row, [0, 500], pads(KEY, TRANSCRIPT, 1, (site,))) for row, site in zip(rows, sites, strict=True)]
    total = tags_of(sum(rows), [0, 500], pads(KEY, TRANSCRIPT, 1, sites))
    assert [sum(column) % PLAIN_MODULUS for column in zip(*each, strict=True)] == total


def test_key_job_round_and_sites_all_matter():
    fields = random_fields(0, 10)
    other = bytes([1]) * 32
    variants = [tags_of(fields, [0, 10])] + [
        tags_of(fields, [0, 10], **change) for change in ({"key": other}, {"transcript": other}, {"number": 2})
    ]
    drawn = [
        pads(KEY, TRANSCRIPT, 1, ("ada",)),
        pads(KEY, TRANSCRIPT, 1, ("bob",)),
        pads(KEY, TRANSCRIPT, 2, ("ada",)),
        pads(other, TRANSCRIPT, 1, ("ada",)),
        pads(KEY, other, 1, ("ada",)),
        pads(KEY, TRANSCRIPT, 1, ("ada", "bob")),
    ]
    # Two of these agree by chance with probability 2^-43 a pair.
    values = [value for variant in variants for value in variant] + [int(value) for pad in drawn for value in pad]
    assert len(set(values)) == len(values)


def test_values_are_pinned():
    """Sites of different releases must not disagree silently."""
    assert tags_of(np.arange(20).reshape(2, 10), [0, 10], pads(KEY, TRANSCRIPT, 1, ("ada",))) == PINNED
