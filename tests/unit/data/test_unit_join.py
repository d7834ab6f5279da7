"""Which ids are one unit, which files cannot be compared, and what is kept of a comparison."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almoner.data.unit_join import (
    forget_registers,
    hash_units,
    read_register,
    read_unit_ids,
    shared_units,
    united,
    write_register,
)
from almoner.errors import DataError

SALT = bytes(range(32))
IDS = st.sets(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), max_size=12)
POPULATIONS = st.dictionaries(st.sampled_from("abcd"), IDS, min_size=1)


def ids(folder: Path, content: bytes, column: str = "id") -> list[str]:
    path = folder / "data.csv"
    path.write_bytes(content)
    return list(read_unit_ids(path, column))


def test_ids_are_stripped_and_nothing_else(tmp_path: Path) -> None:
    assert ids(tmp_path, b"age, id\n61, 007 \n47,7\n5,A7\n6,a7\n") == ["007", "7", "A7", "a7"]
    assert ids(tmp_path, b"\xef\xbb\xbfid,age\r\nP1,61\r\n\r\nP2,47") == ["P1", "P2"]
    assert ids(tmp_path, b"id\n") == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "data.csv: has not one column id"),
        (b"name,age\na,1\n", "data.csv: has not one column id"),
        (b"id,id\na,b\n", "data.csv: has not one column id"),
        (b"id,age\na,1\n ,2\n", "data.csv:3: no id, or not 2 fields"),
        (b"id,age\na,1,2\n", "data.csv:2: no id, or not 2 fields"),
        (b"age,id\n1\n", "data.csv:2: no id, or not 2 fields"),
        (b'id,age\na,"1\nb,2"\n', "data.csv:2: a quote or a lone carriage return"),
        (b"id,age\na,1\rb,2\n", "data.csv:2: a quote or a lone carriage return"),
        (b"id,age\nm\xfcller,1\n", "data.csv:2: not UTF-8"),
    ],
)
def test_what_cannot_be_read_to_the_last_id_is_not_compared(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        ids(tmp_path, content)
    assert problem in str(caught.value)
    assert str(caught.value).isprintable()
    with pytest.raises(DataError, match="cannot be read"):
        list(read_unit_ids(tmp_path / "missing.csv", "id"))


@given(POPULATIONS)
def test_the_hashes_of_populations_meet_exactly_where_their_ids_do(populations: dict[str, set[str]]) -> None:
    shared = shared_units({name: hash_units(SALT, found) for name, found in populations.items()})
    names = sorted(populations)
    assert shared == {
        (one, other): len(populations[one] & populations[other]) for one in names for other in names if one < other
    }


def test_hashes_need_the_salt() -> None:
    assert hash_units(SALT, ["a"]) == hash_units(SALT, ["a", "a"]) != hash_units(SALT[::-1], ["a"])


@given(POPULATIONS, POPULATIONS)
def test_what_was_once_in_a_population_stays_in_it(
    tmp_path_factory: pytest.TempPathFactory, earlier: dict[str, set[str]], now: dict[str, set[str]]
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    before, after = ({name: hash_units(SALT, found) for name, found in part.items()} for part in (earlier, now))
    register = write_register(folder, SALT, before)
    known = read_register(folder, SALT, register)
    assert known == {name: found for name, found in before.items() if found}
    both = united(known, after)
    assert all(both[name] == before.get(name, frozenset()) | after.get(name, frozenset()) for name in both)


def test_a_register_that_is_not_the_recorded_one_is_refused(tmp_path: Path) -> None:
    units = {"a": hash_units(SALT, ["1", "2"]), "b": hash_units(SALT, ["3"])}
    register = write_register(tmp_path, SALT, units)
    [path] = tmp_path.iterdir()
    assert path.stat().st_mode & 0o077 == 0
    assert not any(unit.encode() in path.read_bytes().split() for unit in "123")
    with pytest.raises(DataError, match="of another salt"):
        read_register(tmp_path, SALT[::-1], register)
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(DataError, match="missing, changed or of another salt"):
        read_register(tmp_path, SALT, register)
    path.unlink()
    with pytest.raises(DataError, match="missing, changed or of another salt"):
        read_register(tmp_path, SALT, register)


def test_only_the_newest_register_stays(tmp_path: Path) -> None:
    first = write_register(tmp_path, SALT, {"a": hash_units(SALT, ["1"])})
    last = write_register(tmp_path, SALT, {"a": hash_units(SALT, ["1", "2"])})
    forget_registers(tmp_path, last)
    assert read_register(tmp_path, SALT, last)
    with pytest.raises(DataError):
        read_register(tmp_path, SALT, first)
