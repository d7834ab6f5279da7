"""Two hospitals' lists of patients who do not exist: the same ones, as each hospital would write them.

A person is a number. Insurance number and day of birth are hashes of it, and each hospital spells them in its own way:
upper or lower case, composed or decomposed accents, full-width digits, hyphens and spaces, days in three orders. Every
thousandth line lacks a day of birth. All of it is a function of the number of lines alone.
"""

import unicodedata
from collections.abc import Callable
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path

from almoner.data.atomic import write_atomically
from almoner.errors import DataError

SITE_FILE = "data/patients.csv"
NUM_PATIENTS = 50_000
NUM_SHARED = 20_000
"""People who are in both lists."""

_FIRST_DAY = date(1930, 1, 1)
_DAYS = 25_000
_LETTERS = ("É", "Ö", "ß", "ẞ", "Ç", "A", "K", "Z")
_WIDE = str.maketrans("0123456789", "０１２３４５６７８９")
_WITHOUT_BIRTH_DATE = 1000

Line = Callable[[str, str, date], tuple[str, str]]


def _number(*what: object) -> int:
    """Return a number that depends on what is given alone."""
    return int.from_bytes(sha256(repr(what).encode()).digest()[:8], "big")


def _north(letter: str, digits: str, born: date) -> tuple[str, str]:
    """Spell a patient as the north does: capitals, groups with hyphens; days as 31.12.1950."""
    return f"{letter}{digits[:3]}-{digits[3:6]}-{digits[6:]}", f"{born:%d.%m.%Y}"


def _south(letter: str, digits: str, born: date) -> tuple[str, str]:
    """Spell a patient as the south does: small letters, decomposed accents; digits and days in two ways each."""
    wide = digits.translate(_WIDE) if int(digits) % 3 == 0 else digits
    token = unicodedata.normalize("NFD", letter.casefold()) + " " + wide
    return token, born.isoformat() if int(digits) % 5 == 0 else f"{born.month}/{born.day}/{born.year}"


SITES: dict[str, tuple[Line, tuple[str, str, str]]] = {
    "north-hospital": (_north, ("record", "insurance_no", "born")),
    "south-hospital": (_south, ("record", "kennung", "birthday")),
}
"""How each hospital spells a patient, and its columns."""


def people_of(site: str, num_patients: int, num_shared: int) -> tuple[int, ...]:
    """Return the people on a hospital's list, line by line."""
    start = 0 if site == "north-hospital" else num_patients - num_shared
    return tuple(sorted(range(start, start + num_patients), key=lambda person: _number(site, person)))


def has_birth_date(line: int) -> bool:
    """Tell whether a line, from 0, has a day of birth, and so can be compared."""
    return line % _WITHOUT_BIRTH_DATE != _WITHOUT_BIRTH_DATE - 1


def render_list(site: str, num_patients: int, num_shared: int) -> bytes:
    """Return a hospital's list as CSV."""
    spell, columns = SITES[site]
    lines = [",".join(columns)]
    for line, person in enumerate(people_of(site, num_patients, num_shared)):
        letter, digits = _LETTERS[_number("letter", person) % len(_LETTERS)], f"{_number('digits', person) % 10**9:09}"
        born = _FIRST_DAY + timedelta(days=_number("born", person) % _DAYS)
        token, day = spell(letter, digits, born)
        lines.append(f"{line + 1},{token},{day if has_birth_date(line) else ''}")
    return ("\n".join(lines) + "\n").encode()


def write_lists(root: Path, num_patients: int = NUM_PATIENTS, num_shared: int = NUM_SHARED) -> dict[str, Path]:
    """Write `<root>/<site>/data/patients.csv` for both hospitals.

    Args:
        root: folder that holds one folder a site.

    Returns:
        The file of each site.

    Raises:
        DataError: more people are shared than there are, or a file cannot be written.
    """
    if not 0 <= num_shared <= num_patients:
        raise DataError(f"{num_shared} shared patients of {num_patients} → at most as many as there are")
    paths = {site: root / site / SITE_FILE for site in SITES}
    for site, path in paths.items():
        write_atomically(path, render_list(site, num_patients, num_shared))
    return paths
