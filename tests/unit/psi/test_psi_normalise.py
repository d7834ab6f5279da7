"""Spellings of one identifier become the same bytes; others stay apart; nothing is raised for any text."""

import unicodedata
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almoner.psi.normalise import MAX_CHARACTERS, identifier, normalise, normalise_date, normalise_text

TEXTS = st.text(max_size=40)
ORDERS = ("year_month_day", "day_month_year", "month_day_year")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("AB-123 456", "ab123456"),
        ("ＡＢ１２３", "ab123"),
        ("Straße 7", "STRASSE 7"),
        ("e\u0301clair", "\u00c9CLAIR"),
        ("ﬁne", "FINE"),
        ("٠١٢", "012"),
        ("ab\u200b\u00ad\u00a0c", "ABC"),
        ("O'Neil", "o\u2019neil"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
    ],
)
def test_spellings_of_one(one: str, other: str) -> None:
    assert normalise_text(one) == normalise_text(other) != ""


@pytest.mark.parametrize(("one", "other"), [("é1", "e1"), ("007", "7"), ("ab", "ba"), ("O0", "OO"), ("1", "l")])
def test_what_is_not_folded(one: str, other: str) -> None:
    assert normalise_text(one) != normalise_text(other)


@given(TEXTS)
def test_a_form_of_a_form_is_the_form(text: str) -> None:
    form = normalise_text(text)
    assert normalise_text(form) == form
    assert all(unicodedata.category(sign)[0] in "LMN" for sign in form)
    assert not any(sign.isdecimal() and not sign.isascii() for sign in form)


@given(TEXTS)
def test_case_and_composition_make_no_difference(text: str) -> None:
    forms = {normalise_text(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")}
    assert forms == {normalise_text(text)}
    assert normalise_text(text.casefold()) == normalise_text(text)


@given(st.lists(st.sampled_from([*"aBß1٢é"]), max_size=9), st.text(" \t-./,'\u2010\u00a0\u200b", max_size=5))
def test_what_lies_between_makes_no_difference(signs: list[str], between: str) -> None:
    assert normalise_text(between.join(signs)) == normalise_text("".join(signs))


@given(st.text(alphabet="0123456789ABCDEFabcdef", min_size=1, max_size=30))
def test_ascii_letters_and_digits_are_lower_cased_and_no_more(text: str) -> None:
    assert normalise_text(text) == text.lower()


@given(st.dates(date(1000, 1, 1)), st.sampled_from("-/. "), st.booleans())
def test_dates_in_every_order(day: date, sign: str, padded: bool) -> None:
    year, month, number = f"{day.year:04}", f"{day.month:02}", f"{day.day:02}"
    parts = (month, number) if padded else (str(day.month), str(day.day))
    written = {
        "year_month_day": [sign.join((year, *parts)), f"{year}{month}{number}"],
        "day_month_year": [sign.join((parts[1], parts[0], year)), f"{number}{month}{year}"],
        "month_day_year": [sign.join((*parts, year)), f"{month}{number}{year}"],
    }
    for order in ORDERS:
        iso = (day.isoformat(), f" {day.isoformat()}T12:30:00Z ", f"{day.isoformat()} 00:00:00")
        assert {normalise_date(text, order) for text in (*written[order], *iso)} == {day.isoformat()}


@pytest.mark.parametrize(
    "text", ["", "1950", "31.12.50", "30.02.1950", "1950-13-01", "03/04/1950 or 1951", "0000-01-01", "ab", "31121950x"]
)
def test_no_dates(text: str) -> None:
    assert {normalise_date(text, order) for order in ORDERS} == {""}


def test_an_order_decides() -> None:
    assert normalise_date("03/04/1950", "day_month_year") == "1950-04-03"
    assert normalise_date("03/04/1950", "month_day_year") == "1950-03-04"
    assert normalise_date("٠٣/٠٤/١٩٥٠", "day_month_year") == "1950-04-03"
    assert normalise("1950-04-03", "date", None) == "1950-04-03"
    assert normalise("A 1", "text", None) == "a1"


@given(st.text(), st.sampled_from(ORDERS))
def test_no_text_is_an_error(text: str, order: str) -> None:
    form = normalise_date(text, order)
    assert form == "" or date.fromisoformat(form).isoformat() == form


def test_endless_values_identify_nobody() -> None:
    assert normalise_text("a" * MAX_CHARACTERS)
    assert normalise_text("a" * (MAX_CHARACTERS + 1)) == ""
    assert normalise_date(" " * MAX_CHARACTERS + "1950-04-03", "year_month_day") == ""


@given(*[st.dictionaries(st.text(max_size=5), st.text(min_size=1, max_size=5), min_size=1, max_size=3)] * 2)
def test_two_records_are_one_only_if_all_parts_are_equal(one: dict[str, str], other: dict[str, str]) -> None:
    assert (identifier(one) == identifier(other)) is (list(one.items()) == list(other.items()))


def test_a_part_that_is_missing_identifies_nobody() -> None:
    assert identifier({"a": "1", "b": ""}) is None
    assert identifier({}) is None
