import pytest
from hypothesis import given
from hypothesis import strategies as st

from almoner.data.split import keep_units_whole, split_of
from almoner.errors import DataError


@given(record_id=st.text(), key=st.binary(min_size=1))
def test_fractions_zero_and_one_are_exact(record_id: str, key: bytes) -> None:
    assert split_of(record_id, key, 0.0) == "test"
    assert split_of(record_id, key, 1.0) == "train"


@given(record_id=st.text(), key=st.binary(min_size=1), low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_larger_fraction_only_moves_records_into_train(record_id: str, key: bytes, low: float, high: float) -> None:
    low, high = sorted((low, high))
    if split_of(record_id, key, low) == "train":
        assert split_of(record_id, key, high) == "train"


def test_split_is_frozen_across_releases() -> None:
    """Fixed answers: a change of the hash would move records between train and test."""
    assert [number for number in range(20) if split_of(str(number), b"key") == "test"] == [4, 13]


def test_share_is_near_the_fraction_and_depends_on_the_key() -> None:
    """Deterministic. 10,000 ids at 0.7: the standard deviation of the share is 0.0046."""
    first = [split_of(str(number), b"one") for number in range(10_000)]
    second = [split_of(str(number), b"two") for number in range(10_000)]
    assert first.count("train") / 10_000 == pytest.approx(0.7, abs=0.02)
    same = sum(a == b for a, b in zip(first, second, strict=True)) / 10_000
    assert same == pytest.approx(0.58, abs=0.02)


@pytest.mark.parametrize(("key", "fraction"), [(b"", 0.5), (b"k", -0.1), (b"k", 1.1), (b"k", float("nan"))])
def test_bad_arguments(key: bytes, fraction: float) -> None:
    with pytest.raises(DataError):
        split_of("1", key, fraction)


def test_a_unit_with_a_record_of_train_is_in_train_alone() -> None:
    assert keep_units_whole(["a", "b", "a", "b", "c"], [True, True, False, True, False]) == [
        False,
        True,
        True,
        True,
        True,
    ]
    assert keep_units_whole([], []) == []
