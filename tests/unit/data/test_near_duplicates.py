"""The rule by which images are one unit: copies and mirrored copies are, and what they connect; nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from almoner.data.near_duplicates import THRESHOLD, duplicate_groups, likeness, verify_no_leak
from almoner.errors import DataError

Images = NDArray[np.uint8]


def scans(number: int, seed: int = 1) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (number, 12, 10), np.uint8)


def brighter(images: Images) -> Images:
    return (images // 2 + 60).astype(np.uint8)


def test_copies_are_one_group_and_others_are_not() -> None:
    one, other = scans(2)[:1], scans(2)[1:]
    copies = [brighter(one), one[:, ::-1], one[:, :, ::-1], one[:, ::-1, ::-1], brighter(one)[:, ::-1]]
    assert duplicate_groups(np.concatenate([one, other, *copies])) == [[0, 2, 3, 4, 5, 6], [1]]


def test_a_turn_by_a_right_angle_is_not_seen() -> None:
    """As the module says: the rule has its limits."""
    square = scans(1)[:, :10]
    assert duplicate_groups(np.concatenate([square, np.rot90(square, axes=(1, 2))])) == [[0], [1]]


def test_a_chain_of_near_duplicates_is_one_group() -> None:
    """Each blend is like the next one; the ends are not alike."""
    first, last = scans(2).astype(float)
    chain = np.stack([(first * (16 - step) + last * step) / 16 for step in range(17)]).astype(np.uint8)
    assert likeness(chain[:1], chain[-1:])[0, 0] < THRESHOLD
    assert duplicate_groups(chain) == [list(range(17))]
    assert duplicate_groups(chain[[0, 16]]) == [[0], [1]]


def test_blank_images_are_like_nothing() -> None:
    assert duplicate_groups(np.zeros((2, 12, 10), np.uint8)) == [[0], [1]]
    assert duplicate_groups(scans(0)) == []


@given(st.permutations(range(8)))
def test_groups_do_not_depend_on_the_order(order: list[int]) -> None:
    images = np.concatenate([scans(4), scans(4)[:, ::-1]])
    found = {frozenset(order[place] for place in group) for group in duplicate_groups(images[order])}
    assert found == {frozenset({place, place + 4}) for place in range(4)}


def test_likeness_is_the_correlation_of_numpy() -> None:
    one, other = scans(1), scans(1, seed=2)
    rows = [np.flip(other, axes).ravel() for axes in ((), (1,), (2,), (1, 2))]
    expected = max(np.corrcoef(one.ravel(), row)[0, 1] for row in rows)
    assert likeness(one, other)[0, 0] == pytest.approx(expected, abs=1e-6)


def test_a_copy_in_the_other_part_of_a_split_is_refused() -> None:
    train, test = scans(5), scans(3, seed=2)
    verify_no_leak(train, test)
    verify_no_leak(train, test[:0])
    with pytest.raises(DataError, match="1 of 4 test images"):
        verify_no_leak(train, np.concatenate([test, brighter(train[2:3])[:, :, ::-1]]))
