import csv
from functools import partial
from pathlib import Path

import pytest

from almoner.data.fetch import read_members
from almoner.data.heart_disease import COLUMNS, parse_heart_disease
from almoner.data.prepare import prepare_sites
from almoner.data.records import SourceRecord
from almoner.data.registry import HEART_DISEASE
from almoner.data.split import SplitRule, split_of
from almoner.data.tables import render_table
from almoner.errors import DataError

SPLIT: SplitRule = partial(split_of, key=b"key")
SITES = {"cleveland", "hungary", "switzerland", "va-long-beach"}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_private_file_a_hospital(heart_cache: Path, tmp_path: Path) -> None:
    paths = prepare_sites(HEART_DISEASE, heart_cache, tmp_path)
    assert set(paths) == SITES
    for site, path in paths.items():
        assert path == tmp_path / site / "data" / "heart.csv"
        assert path.stat().st_mode & 0o777 == 0o600
        assert [entry.name for entry in path.parent.iterdir()] == ["heart.csv"]
        assert list(rows(path)[0]) == ["record_id", "split", *COLUMNS]


def test_files_hold_the_source_and_the_keyed_split(heart_cache: Path, tmp_path: Path) -> None:
    paths = prepare_sites(HEART_DISEASE, heart_cache, tmp_path, split_key=b"key", train_fraction=0.6)
    (content,) = read_members(HEART_DISEASE.archive, heart_cache).values()
    source = {record.record_id: record for record in parse_heart_disease(content)}
    written = [(site, row) for site, path in paths.items() for row in rows(path)]
    assert len(written) == len(source) == 740
    for site, row in written:
        record = source[row["record_id"]]
        assert record.site == site
        assert tuple(row[column] for column in COLUMNS) == record.values
        assert row["split"] == split_of(record.record_id, b"key", 0.6)


def test_a_record_more_leaves_every_other_line_as_it_was() -> None:
    records = [SourceRecord(str(number), "a", (str(number),)) for number in range(50)]
    few = render_table(("x",), records[:25] + records[26:], SPLIT).splitlines()
    many = render_table(("x",), records, SPLIT).splitlines()
    assert [line for line in many if line not in few] == [many[26]]
    assert len(many) == len(few) + 1


@pytest.mark.parametrize("field", ["a,b", 'a"b', "a\nb", "a\rb"])
def test_a_field_that_needs_quoting_is_refused(field: str) -> None:
    with pytest.raises(DataError, match="comma, quote or line break"):
        render_table(("x",), [SourceRecord("1", "a", (field,))], SPLIT)
