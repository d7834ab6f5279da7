"""Updates with entries left out: what is sent, that nothing is lost, and that the largest entries are mostly noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.experiments.sparsify import LargestEntries, SharedRandomEntries, largest_are_right, sent_entries

WEIGHTS = np.zeros(0)


def test_the_largest_are_sent_and_the_rest_later():
    rule = LargestEntries(0.5)
    first = np.array([[1, -9, 3, 2], [8, 0, -1, 5]])
    assert rule(WEIGHTS, first).tolist() == [8, -9, 3, 5]
    assert rule(WEIGHTS, np.zeros_like(first)).tolist() == [1, 0, -1, 2]


def test_all_sites_send_the_same_entries():
    rule = SharedRandomEntries(0.25, seed=3)
    updates = np.ones((5, 40), np.int64)
    sent = rule(WEIGHTS, updates)
    assert sorted(set(sent.tolist())) == [0, 5]
    assert (sent == 5).sum() == sent_entries(0.25, 40) == 10
    again = SharedRandomEntries(0.25, seed=3)
    assert np.array_equal(again(WEIGHTS, np.full_like(updates, 7)) > 0, sent > 0)  # the values have no say


@given(st.sampled_from([LargestEntries, SharedRandomEntries]), st.floats(0.01, 1), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_nothing_is_lost(kind, share, seed):
    rng = np.random.default_rng(seed)
    rule = kind(share) if kind is LargestEntries else kind(share, seed)
    updates = rng.integers(-50, 50, (6, 3, 17))
    sent = sum(rule(WEIGHTS, update) for update in updates)
    assert np.array_equal(sent + rule._left_out.sum(axis=0), updates.sum(axis=(0, 1)))
    assert rule(WEIGHTS, np.zeros((3, 17), np.int64)).astype(bool).sum() <= 3 * sent_entries(share, 17)


def test_a_share_of_all_is_the_plain_sum():
    updates = np.random.default_rng(0).integers(-9, 9, (3, 50))
    assert np.array_equal(LargestEntries(1.0)(WEIGHTS, updates), updates.sum(axis=0))


def test_noise_decides_which_entries_are_largest():
    rng = np.random.default_rng(1)
    signal = rng.normal(0, 1, 20_000)
    assert largest_are_right(signal, np.zeros_like(signal), 0.1) == 1
    assert largest_are_right(signal, rng.normal(0, 100, signal.size), 0.1) == pytest.approx(0.1, abs=0.02)
