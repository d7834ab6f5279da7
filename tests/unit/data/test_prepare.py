import csv
from pathlib import Path

import pytest

from almoner.data.fetch import read_member
from almoner.data.heart_disease import COLUMNS
from almoner.data.prepare import prepare_sites, render_site_file
from almoner.data.records import SourceRecord
from almoner.data.registry import HEART_DISEASE
from almoner.data.split import split_of
from almoner.errors import DataError

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
    source = {record.record_id: record for record in HEART_DISEASE.loader(read_member(HEART_DISEASE, heart_cache))}
    written = [(site, row) for site, path in paths.items() for row in rows(path)]
    assert len(written) == len(source) == 740
    for site, row in written:
        record = source[row["record_id"]]
        assert record.site == site
        assert tuple(row[column] for column in COLUMNS) == record.values
        assert row["split"] == split_of(record.record_id, b"key", 0.6)


def test_a_record_more_leaves_every_other_line_as_it_was() -> None:
    records = [SourceRecord(str(number), "a", (str(number),)) for number in range(50)]
    few = render_site_file(("x",), records[:25] + records[26:], b"key", 0.7).splitlines()
    many = render_site_file(("x",), records, b"key", 0.7).splitlines()
    assert [line for line in many if line not in few] == [many[26]]
    assert len(many) == len(few) + 1


@pytest.mark.parametrize("field", ["a,b", 'a"b', "a\nb", "a\rb"])
def test_a_field_that_needs_quoting_is_refused(field: str) -> None:
    with pytest.raises(DataError, match="comma, quote or line break"):
        render_site_file(("x",), [SourceRecord("1", "a", (field,))], b"key", 0.7)
