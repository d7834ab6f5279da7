"""Every list is as long as the cap says, in no order, and one record more or less changes one entry of it."""

from hypothesis import given, settings
from hypothesis import strategies as st
from psi_cases import names

from almoner.psi.padding import pad, site_list

SALT, OTHER_SALT = b"s" * 32, b"t" * 32
IDENTIFIERS = st.lists(st.none() | st.binary(min_size=1, max_size=2), max_size=30)


@given(IDENTIFIERS, st.integers(1, 20))
def test_a_list_has_the_caps_length_and_no_entry_twice(identifiers: list[bytes | None], cap: int) -> None:
    own = site_list(identifiers, cap)
    padded = pad(own, cap, SALT, "ada")
    distinct = {value for value in identifiers if value is not None}
    assert len(padded.entries) == len(padded.identifiers) == len(set(padded.entries)) == cap
    assert {value for value in padded.identifiers if value is not None} == set(own.rows)
    assert set(own.rows) <= distinct
    assert own.num_left_out == max(0, len(distinct) - cap) == len(distinct) - len(own.rows)
    assert own.num_rows == len(identifiers)
    assert own.num_unusable == identifiers.count(None)
    assert {len(entry) for entry in padded.entries} <= {len("record:") + 64, len("filling:ada:") + 64}


@given(IDENTIFIERS)
def test_rows_are_those_that_have_the_identifier(identifiers: list[bytes | None]) -> None:
    for value, rows in site_list(identifiers, 100).rows.items():
        assert rows == tuple(row for row, found in enumerate(identifiers) if found == value)


@settings(max_examples=30)
@given(st.sets(st.binary(min_size=1, max_size=2), min_size=2, max_size=30), st.integers(1, 20))
def test_one_record_less_changes_at_most_one_that_stays(values: set[bytes], cap: int) -> None:
    """The site's key for the ranks is drawn anew by each list, so that only the sizes can be compared here."""
    full = sorted(values)
    with_it, without = site_list(full, cap), site_list(full[1:], cap)
    assert 0 <= len(with_it.rows) - len(without.rows) <= 1


def test_who_is_left_out_is_drawn() -> None:
    values = [number.to_bytes(2, "big") for number in range(1000)]
    one, other = (set(site_list(values, 500).rows) for _ in range(2))
    assert 150 < len(one & other) < 350  # 250 expected, standard deviation 8


def test_entries_agree_just_where_salt_and_identifier_do() -> None:
    own = site_list(names("a", "b"), 4)
    entries = [
        set(pad(own, 4, salt, site).entries) for salt, site in [(SALT, "ada"), (SALT, "bob"), (OTHER_SALT, "bob")]
    ]
    assert len(entries[0] & entries[1]) == 2
    assert not entries[1] & entries[2]


def test_the_order_is_another_each_time() -> None:
    own = site_list([number.to_bytes(2, "big") for number in range(100)], 100)
    one, other = (pad(own, 100, SALT, "ada") for _ in range(2))
    assert one.entries != other.entries
    assert set(one.entries) == set(other.entries)
    assert one.entries != tuple(sorted(one.entries))


def test_nothing_is_shown_of_a_list() -> None:
    own = site_list(names("secret"), 4)
    assert repr(own) == "<SiteList>"
    assert repr(pad(own, 4, SALT, "ada")) == "<PaddedList>"
