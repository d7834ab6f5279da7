"""Blinded lists: what is equal ends as equal points, whoever blinds first; what is no list of points is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.errors import ProtocolError
from almoner.psi.points import POINT_BYTES, BlindingKey, list_bytes, split_points

ENTRIES = st.lists(st.text(max_size=8), min_size=1, max_size=6, unique=True)


@settings(max_examples=25, deadline=None)
@given(ENTRIES, ENTRIES)
def test_the_order_of_blinding_makes_no_difference(one: list[str], other: list[str]) -> None:
    ours, theirs = BlindingKey(), BlindingKey()
    mine = split_points(theirs.blind_again(split_points(ours.blind(one), len(one), "l"), "l"), len(one), "l")
    yours = split_points(ours.blind_again(split_points(theirs.blind(other), len(other), "l"), "l"), len(other), "l")
    assert [value in other for value in one] == [point in yours for point in mine]


def test_another_key_makes_other_points() -> None:
    assert BlindingKey().blind(["a"]) != BlindingKey().blind(["a"])
    assert len(BlindingKey().blind(["a", "b"])) == list_bytes(2) == 66


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(POINT_BYTES),
        bytes(2 * POINT_BYTES - 1),
        bytes(3 * POINT_BYTES),
        b"\x02" * (2 * POINT_BYTES),
    ],
)
def test_no_lists_of_two(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="list of bob: "):
        split_points(data, 2, "list of bob")


@pytest.mark.parametrize("point", [bytes(POINT_BYTES), b"\x04" * POINT_BYTES, b"\x02" + b"\xff" * 32])
def test_no_points_of_the_curve(point: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"^list of bob: an entry is no point of the curve$"):
        BlindingKey().blind_again([point], "list of bob")
