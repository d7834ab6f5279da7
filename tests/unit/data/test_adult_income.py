"""The census table: as it is published, and clear errors for anything else."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from almoner.data.adult_income import COLUMNS, SITE, parse_adult
from almoner.data.fetch import read_members
from almoner.data.registry import ADULT_INCOME, dataset_of_file
from almoner.errors import DataError


def parquet(columns: dict[str, list[object]]) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def test_the_published_table(root: Path) -> None:
    (content,) = read_members(ADULT_INCOME.archive, root / "build" / "cache").values()
    records = parse_adult(content)
    assert len(records) == 48_842
    assert sum(value == "?" for record in records for value in record.values) == 6_465
    assert sum(record.values[-1] == ">50K" for record in records) == 11_687
    assert {record.site for record in records} == {SITE}
    assert len({record.record_id for record in records}) == 48_842


def test_rows_become_text() -> None:
    content = parquet({name: [7] if name == "age" else ["x"] for name in COLUMNS})
    (record,) = parse_adult(content)
    assert record.values == ("7", *["x"] * (len(COLUMNS) - 1))


@pytest.mark.parametrize("content", [b"", b"not parquet", parquet({"age": [1]})])
def test_another_file(content: bytes) -> None:
    with pytest.raises(DataError, match="fetch the pinned release"):
        parse_adult(content)


def test_files_are_known_by_their_place() -> None:
    assert dataset_of_file("data/adult.csv") is ADULT_INCOME
    assert dataset_of_file("data/own.csv") is None
