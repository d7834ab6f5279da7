from collections import Counter
from pathlib import Path

import pytest

from almoner.data.fetch import read_members
from almoner.data.heart_disease import COLUMNS, parse_heart_disease
from almoner.data.records import SourceRecord
from almoner.data.registry import HEART_DISEASE, public_dataset
from almoner.errors import DataError


@pytest.fixture(scope="module")
def source(heart_cache: Path) -> bytes:
    (content,) = read_members(HEART_DISEASE.archive, heart_cache).values()
    return content


@pytest.fixture(scope="module")
def records(source: bytes) -> tuple[SourceRecord, ...]:
    return parse_heart_disease(source)


def value(record: SourceRecord, column: str) -> str:
    return record.values[COLUMNS.index(column)]


def test_source_has_920_rows(source: bytes) -> None:
    assert source.decode().strip().count("\n") == 920


def test_sites_have_the_sizes_of_fed_heart_disease(records: tuple[SourceRecord, ...]) -> None:
    """FLamby (arXiv:2210.04620), table of Fed-Heart-Disease: 303, 261, 46, 130."""
    sizes = Counter(record.site for record in records)
    assert sizes == {"cleveland": 303, "hungary": 261, "switzerland": 46, "va-long-beach": 130}


def test_record_304_belongs_to_hungary(source: bytes) -> None:
    header, *lines = source.decode().splitlines()
    wrong = next(line for line in lines if line.startswith("304,"))
    assert ",Cleveland," in wrong
    filled = "304,50,Male,Cleveland,asymptomatic,120,200,FALSE,normal,150,FALSE,0,,,,1"
    (record,) = parse_heart_disease(f"{header}\n{filled}\n".encode())
    assert record.site == "hungary"


def test_records_are_complete_and_ids_differ(records: tuple[SourceRecord, ...]) -> None:
    assert all(all(record.values) and len(record.values) == len(COLUMNS) for record in records)
    assert len({record.record_id for record in records}) == len(records)


def test_chol_zero_is_kept_raw_where_it_was_not_measured(records: tuple[SourceRecord, ...]) -> None:
    zero = Counter(record.site for record in records if float(value(record, "chol")) == 0)
    assert zero["switzerland"] == 46
    assert set(zero) == {"switzerland", "va-long-beach"}
    assert zero["va-long-beach"] == 33


def test_missing_column_and_unknown_hospital() -> None:
    with pytest.raises(DataError, match="no column"):
        parse_heart_disease(b"id,age\n1,2\n")
    header = ",".join(("id", "dataset", *COLUMNS))
    with pytest.raises(DataError, match="unknown hospital"):
        parse_heart_disease(f"{header}\n1,Atlantis{',1' * len(COLUMNS)}\n".encode())


def test_registry_knows_it_and_lists_it() -> None:
    assert public_dataset("heart_disease") is HEART_DISEASE
    assert HEART_DISEASE.privacy_unit == "patient"
    with pytest.raises(DataError, match=r"known are adult_income, .*heart_disease"):
        public_dataset("hart_disease")
