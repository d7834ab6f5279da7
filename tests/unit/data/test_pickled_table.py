"""A pandas table is read out of its pickle by what the pickle says; another one, or a damaged one, is refused."""

import contextlib
import pickle
import pickletools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pickled_tables import categorical, index, integer_index, numbers, pickled, table

from almoner.data.inert_pickle import MAX_INSTRUCTIONS, Called, Named, read_inert
from almoner.data.pickled_table import read_table
from almoner.errors import DataError

TEMPERATURES = np.array([[20.5, 30.0, -1.0]])
COUNTS = np.array([[1, 2, 3], [0, 1, 0]])


def drives(**changes: Called) -> Called:
    """A table of five columns and three rows, in five blocks or four."""
    parts = {
        "temperature": numbers(TEMPERATURES, "f8"),
        "counts": numbers(COUNTS, "i8"),
        "brand": categorical(index(["x", "yy"]), [1, 0, 1]),
        "flag": categorical(integer_index([0, 7]), [0, 0, 1]),
    } | changes
    places = {"temperature": (2, 3), "counts": (0, 2), "brand": (3, 4), "flag": (4, 5)}
    names = ["id", "failed", "temperature", "brand", "flag"]
    return table(names, [(parts[name], place) for name, place in places.items()])


SMALL = pickled(drives())


def test_every_kind_of_column_is_read() -> None:
    found = {name: column.tolist() for name, column in read_table(SMALL).items()}
    assert found == {
        "temperature": [20.5, 30.0, -1.0],
        "id": [1, 2, 3],
        "failed": [0, 1, 0],
        "brand": ["yy", "x", "yy"],
        "flag": [0, 0, 7],
    }


def numbers_of(content: bytearray, kind: str, shape: object) -> Called:
    dtype = Called("numpy.dtype", (kind, False, True), (3, "<", None, None, None, -1, -1, 0))
    return Called("numpy.core.numeric._frombuffer", (content, dtype, shape, "C"))


@pytest.mark.parametrize(
    "other",
    [
        None,
        ["a", "b"],
        Called("pandas.core.frame.DataFrame", ()),
        Called("pandas.core.series.Series", (), drives().state),
        drives(temperature=numbers(TEMPERATURES[0], "f8")),
        drives(temperature=numbers(TEMPERATURES[:, :2], "f8")),
        drives(temperature=numbers(COUNTS, "f8")),
        drives(temperature=numbers_of(bytearray(23), "f8", (1, 3))),
        drives(temperature=numbers_of(bytearray(24), "O8", (1, 3))),
        drives(temperature=numbers_of(bytearray(24), "f8", (-1, -3))),
        drives(temperature=numbers_of(bytearray(), "f8", (0, 2**30))),
        drives(temperature=numbers_of(bytearray(24), "f8", ("1", 3))),
        drives(temperature=numbers_of(bytearray(24), "f8", (True, 3))),
        drives(brand=categorical(index(["x", "yy"]), [0, 1, 2])),
        drives(brand=categorical(index(["x", "yy"]), [0, 1, -1])),
        drives(brand=categorical(numbers(COUNTS, "i8"), [0, 1, 1])),
        drives(brand=Called("numpy.load", ("file",))),
        table(["a", "b"], [(numbers(COUNTS, "i8"), (0, 1))]),
        table(["a", "a"], [(numbers(COUNTS, "i8"), (0, 2))]),
    ],
)
def test_what_is_no_such_table_is_refused(other: object) -> None:
    with pytest.raises(DataError, match="not a table as pandas writes it"):
        read_table(pickled(other))


@given(st.integers(0, len(SMALL) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_read(place: int, mask: int) -> None:
    changed = bytearray(SMALL)
    changed[place] ^= mask
    with contextlib.suppress(DataError):
        assert {len(column) for column in read_table(bytes(changed)).values()} == {3}


@given(st.integers(0, len(SMALL) - 1))
def test_a_cut_pickle_is_refused(length: int) -> None:
    with pytest.raises(DataError, match="cut or malformed"):
        read_table(SMALL[:length])


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(DataError):
        read_table(content)


def test_names_and_calls_are_noted() -> None:
    said = read_inert(pickled([Named("os.path"), Called("os.system", ("true",), {"a": 1})]))
    assert isinstance(said, list)
    assert said[0] == Named("os.path")
    assert (said[1].name, said[1].arguments, said[1].state) == ("os.system", ("true",), {"a": 1})


@pytest.mark.parametrize("protocol", range(4))
def test_older_protocols_are_refused(protocol: int) -> None:
    with pytest.raises(DataError, match="is none of a table's"):
        read_inert(pickle.dumps([1, (2, "x")], protocol))


@pytest.mark.parametrize("value", [{1: 2, 3: 4}, {(): 1, ((),): 2}])
def test_keys_are_texts(value: object) -> None:
    with pytest.raises(DataError, match="a key is no text"):
        read_inert(pickle.dumps(value, 5))


@pytest.mark.parametrize(
    "code",
    [b".", b"N\x85\x86.", b"e.", b"(N.", b"h\x05.", b"NN\x81.", b"NNb.", b"N(NNe.", b"NNNs.", b"}(\x8c\x01au."],
)
def test_a_stack_out_of_order_is_refused(code: bytes) -> None:
    """Each of these makes Python's own reader raise, or leave something else than one value."""
    with pytest.raises(DataError, match="→"):
        read_table(b"\x80\x05" + code)


def test_a_pickle_is_so_long_and_no_longer() -> None:
    long = b"\x80\x05" + b"N\x85" * (MAX_INSTRUCTIONS // 2 - 1)
    assert isinstance(read_inert(long + b"."), tuple)
    with pytest.raises(DataError, match=f"more than {MAX_INSTRUCTIONS} instructions"):
        read_inert(long + b"N.")
    assert sum(1 for _ in pickletools.genops(long + b".")) == MAX_INSTRUCTIONS
