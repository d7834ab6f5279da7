"""The synthetic lists: always the same, spelt in two ways, and one person is one identifier once normalised."""

import unicodedata
from hashlib import sha256
from pathlib import Path

import pytest

from almoner.data.patient_lists import SITES, has_birth_date, people_of, render_list, write_lists
from almoner.errors import DataError
from almoner.psi.normalise import normalise_date, normalise_text

NORTH, SOUTH = SITES
DIGESTS = ["b5f004e822630716", "5f61c14579690030"]
ORDERS = {NORTH: "day_month_year", SOUTH: "month_day_year"}


def lines_of(site: str, num_patients: int = 2000, num_shared: int = 500) -> list[list[str]]:
    return [line.split(",") for line in render_list(site, num_patients, num_shared).decode().splitlines()[1:]]


def test_lists_are_always_the_same() -> None:
    digests = [sha256(render_list(site, 300, 100)).hexdigest()[:16] for site in SITES]
    assert digests == DIGESTS


def test_a_person_is_one_identifier_and_two_are_not() -> None:
    forms: dict[int, set[tuple[str, str]]] = {}
    for site in SITES:
        for person, (_, token, born) in zip(people_of(site, 2000, 500), lines_of(site), strict=True):
            if born:
                form = normalise_text(token), normalise_date(born, ORDERS[site])  # type: ignore[arg-type]
                assert all(form)
                forms.setdefault(person, set()).add(form)
    assert {len(found) for found in forms.values()} == {1}
    assert len({form for found in forms.values() for form in found}) == len(forms)


def test_without_the_rule_hardly_anybody_is_found() -> None:
    raw = [{(token, born) for _, token, born in lines_of(site)} for site in SITES]
    assert not raw[0] & raw[1]
    assert any(not unicodedata.is_normalized("NFC", token) for token, _ in raw[1])
    assert any(sign.isdecimal() and not sign.isascii() for token, _ in raw[1] for sign in token)


@pytest.mark.parametrize("shared", [0, 500, 2000])
def test_as_many_are_shared_as_were_asked_for(shared: int) -> None:
    north, south = (people_of(site, 2000, shared) for site in SITES)
    assert len(set(north)) == len(set(south)) == 2000
    assert len(set(north) & set(south)) == shared
    assert north != tuple(sorted(north))


def test_every_thousandth_line_has_no_birth_date() -> None:
    assert [line for line in range(2000) if not has_birth_date(line)] == [999, 1999]
    assert [number for number, _, born in lines_of(NORTH) if not born] == ["1000", "2000"]


def test_files_are_written_below_the_sites(tmp_path: Path) -> None:
    paths = write_lists(tmp_path, 20, 5)
    assert paths == {site: tmp_path / site / "data" / "patients.csv" for site in SITES}
    assert paths[SOUTH].read_bytes() == render_list(SOUTH, 20, 5)
    with pytest.raises(DataError, match="6 shared patients of 5"):
        write_lists(tmp_path, 5, 6)
