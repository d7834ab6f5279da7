"""The rule by which two sites' spellings of one identifier become the same bytes. Pure functions of text.

text   1. compatibility caseless form of Unicode: full-width, ligature and composed spellings, upper and lower case are
          one (`NFKC(casefold(NFKC(casefold(NFD(x)))))`); "ß" is "ss"
       2. decimal digits of every script become 0-9
       3. whatever is no letter, digit or mark is dropped: white space, punctuation, dashes, invisible signs
       and again, until nothing changes. Nothing left: the record has no identifier.
date   step 1 and 2, then one of
          YYYY-MM-DD, also with a time after it, whatever order is declared: four digits first are a year
          three numbers with `-`, `/`, `.` or white space between them, in the declared order; the year has four digits
          eight digits in a row in the declared order
       A day that no calendar has, or a year of two digits: the record has no identifier.

What is *not* folded: accents (é is not e), leading zeros, transliterations, spelling mistakes, the order of names. Two
records are one if every part is equal after this.

Reference: The Unicode Standard, 3.13, D146 (compatibility caseless matching).
"""

import re
import unicodedata
from collections.abc import Mapping
from datetime import date

from almoner.schema.psi import PartKind
from almoner.schema.site import DateOrder

MAX_CHARACTERS = 1000
"""A longer value is no identifier."""

_ROUNDS = 8
_LENGTH_BYTES = 4
_ISO = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[t ].*)?")
_PARTED = re.compile(r"([0-9]{1,4})[-/. \t]+([0-9]{1,2})[-/. \t]+([0-9]{1,4})")
_PLACES: dict[DateOrder, tuple[int, int, int]] = {
    "year_month_day": (0, 1, 2),
    "day_month_year": (2, 1, 0),
    "month_day_year": (2, 0, 1),
}
"""Where year, month and day stand."""
_RUNS: dict[DateOrder, re.Pattern[str]] = {
    "year_month_day": re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})"),
    "day_month_year": re.compile(r"([0-9]{2})([0-9]{2})([0-9]{4})"),
    "month_day_year": re.compile(r"([0-9]{2})([0-9]{2})([0-9]{4})"),
}


def normalise_text(value: str) -> str:
    """Return a text's normal form; "" if nothing identifying is left.

    *Guarantee*: the form of a form is the form itself; it has letters, marks and digits alone.
    """
    if len(value) > MAX_CHARACTERS:
        return ""
    for _ in range(_ROUNDS):
        kept = "".join(sign for sign in _folded(value) if unicodedata.category(sign)[0] in "LMN")
        if kept == value:
            return kept
        value = kept
    return ""


def normalise_date(value: str, order: DateOrder) -> str:
    """Return a date as YYYY-MM-DD; "" if it is none."""
    if len(value) > MAX_CHARACTERS:
        return ""
    text = _folded(value).strip()
    if found := _ISO.fullmatch(text):
        return _iso(found, "year_month_day")
    found = _PARTED.fullmatch(text) or _RUNS[order].fullmatch(text)
    return _iso(found, order) if found else ""


def normalise(value: str, kind: PartKind, order: DateOrder | None) -> str:
    """Return the normal form of one part; "" if it has none.

    Args:
        order: of a date; a date without one is read only where it is written as YYYY-MM-DD.
    """
    return normalise_text(value) if kind == "text" else normalise_date(value, order or "year_month_day")


def identifier(parts: Mapping[str, str]) -> bytes | None:
    """Return the bytes that stand for a record; None if a part is missing, so that it is nobody else's.

    *Guarantee*: two records have the same bytes only if all their parts are equal.

    Args:
        parts: field → normal form, in the job's order.
    """
    if not parts or not all(parts.values()):
        return None
    said = (text.encode() for field, form in parts.items() for text in (field, form))
    return b"".join(len(text).to_bytes(_LENGTH_BYTES, "big") + text for text in said)


def _folded(value: str) -> str:
    """Return the compatibility caseless form, with the digits of all scripts as 0-9."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", value).casefold())
    folded = unicodedata.normalize("NFKC", folded.casefold())
    if folded.isascii():
        return folded
    return "".join(str(unicodedata.digit(sign)) if sign.isdecimal() else sign for sign in folded)


def _iso(found: re.Match[str], order: DateOrder) -> str:
    """Return a matched date in ISO form."""
    year, month, day = (found.groups()[place] for place in _PLACES[order])
    try:
        return date(int(year), int(month), int(day)).isoformat() if len(year) == 4 else ""
    except ValueError:
        return ""
