"""Ten banks out of one table: the rule is a function of the account alone, and the banks differ as the page says."""

import gzip
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almoner.data.fetch import read_members
from almoner.data.give_me_some_credit import COLUMNS, SITES, bank_of, parse_credit
from almoner.data.records import SourceRecord
from almoner.data.registry import CREDIT
from almoner.errors import DataError

HEADER = (
    "id,SeriousDlqin2yrs,RevolvingUtilizationOfUnsecuredLines,age,NumberOfTime30-59DaysPastDueNotWorse,DebtRatio,"
    "MonthlyIncome,NumberOfOpenCreditLinesAndLoans,NumberOfTimes90DaysLate,NumberRealEstateLoansOrLines,"
    "NumberOfTime60-89DaysPastDueNotWorse,NumberOfDependents"
)


@pytest.fixture(scope="module")
def records(heart_cache: Path) -> tuple[SourceRecord, ...]:
    (content,) = read_members(CREDIT.archive, heart_cache).values()
    return parse_credit(content)


def table(*lines: str, header: str = HEADER) -> bytes:
    return gzip.compress("".join(line + "\n" for line in (header, *lines)).encode(), mtime=0)


def test_all_accounts_are_there_once(records: tuple[SourceRecord, ...]) -> None:
    assert len({record.record_id for record in records}) == len(records) == 150_000
    assert {len(record.values) for record in records} == {len(COLUMNS)}
    assert Counter(record.values[0] for record in records) == {"0": 139_974, "1": 10_026}


def test_banks_differ_in_size_age_income_and_defaults(records: tuple[SourceRecord, ...]) -> None:
    banks = {site: [record.values for record in records if record.site == site] for site in SITES}
    assert len(banks) == 10
    defaults = {site: sum(row[0] == "1" for row in rows) / len(rows) for site, rows in banks.items()}
    ages = [sum(float(row[2]) for row in rows) / len(rows) for rows in banks.values()]
    assert [len(rows) for rows in banks.values()][:2] == [13_629, 7_797]
    assert min(map(len, banks.values())) == 7_797
    assert max(map(len, banks.values())) == 21_559
    assert (round(max(defaults.values()), 3), round(min(defaults.values()), 3)) == (0.111, 0.031)
    assert ages[1] < ages[3] < ages[5] < ages[7] < ages[9]
    assert all(defaults[low] > defaults[high] for low, high in zip(SITES[::2], SITES[1::2], strict=True))


def test_what_is_not_known_is_empty_and_kept() -> None:
    (record,) = parse_credit(table("7,1,0.5,40,0,0.1,NA,3,0,1,0,NA"))
    assert record.record_id == "7"
    assert record.values == ("1", "0.5", "40", "0", "0.1", "", "3", "0", "1", "0", "")


@given(st.integers(1, 150_000), st.integers(0, 110), st.one_of(st.just(""), st.integers(0, 50_000).map(str)))
def test_every_account_has_a_bank(number: int, age: int, income: str) -> None:
    assert bank_of(str(number), str(age), income) in SITES


def test_four_in_five_are_at_home_and_strays_are_anywhere() -> None:
    """Of 3,000 accounts 2,400 at home and 60 of the strays, standard deviation 22; seeded by the key."""
    young_and_poor = Counter(bank_of(str(number), "30", "1000") for number in range(3000))
    assert abs(young_and_poor["bank-01"] - 2460) < 100
    assert set(young_and_poor) == set(SITES)
    unknown = Counter(bank_of(str(number), "70", "") for number in range(3000))
    assert min(unknown["bank-09"], unknown["bank-10"]) > 1100


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"not compressed", "not a compressed text"),
        (gzip.compress(b"\xff\xfe", mtime=0), "not a compressed text"),
        (gzip.compress(b"id,age\n" * 9, mtime=0)[:-9], "not a compressed text"),
        (gzip.compress(b"", mtime=0), "other columns"),
        (table(header=HEADER.replace("age,", "")), "other columns"),
        (table("7,1,0.5,40"), "other columns"),
        (table("7,1,0.5,old,0,0.1,NA,3,0,1,0,NA", "8,1,0.5,old,0,0.1,9,3,0,1,0,NA"), "no number"),
        (table("7,1,0.5,40,0,0.1,rich,3,0,1,0,NA", "8,1,0.5,40,0,0.1,rich,3,0,1,0,NA"), "no number"),
    ],
)
def test_another_table_is_refused(content: bytes, part: str) -> None:
    with pytest.raises(DataError, match=part):
        parse_credit(content)
