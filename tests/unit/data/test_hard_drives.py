"""52,422 drives out of one pickle: four makers, which differ as the page says."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.pickled_tables import categorical, index, integer_index, numbers, pickled, table

from almoner.data.fetch import read_members
from almoner.data.hard_drives import COLUMNS, SITES, parse_drives
from almoner.data.prepare import prepare_sites
from almoner.data.records import SourceRecord
from almoner.data.registry import HARD_DRIVES, dataset_of_file
from almoner.errors import DataError

NAMES = ["pid", "event", "time", "num_temp", "fac_brand", "fac_type", "fac_rsc", "fac_rer", "fac_psc"]


@pytest.fixture(scope="module")
def records(heart_cache: Path) -> tuple[SourceRecord, ...]:
    (content,) = read_members(HARD_DRIVES.archive, heart_cache).values()
    return parse_drives(content)


def two_drives(brand: str = "ST", last: str = "fac_psc") -> bytes:
    flags = [(categorical(integer_index([0, 1]), [0, 1]), (place, place + 1)) for place in (6, 7, 8)]
    blocks = [
        (numbers(np.array([[7, 8], [0, 1]]), "i8"), (0, 2)),
        (numbers(np.array([[1.5, 1 / 3], [30.0, 41.0]]), "f8"), (2, 4)),
        (categorical(index(["HGST", brand]), [0, 1]), (4, 5)),
        (categorical(index(["HGST", "ST4000DM000"]), [0, 1]), (5, 6)),
        *flags,
    ]
    return pickled(table([*NAMES[:-1], last], blocks))


def test_drives_are_read() -> None:
    first, second = parse_drives(two_drives())
    assert first == SourceRecord("7", "maker-a", ("0", "1.500", "HGST", "30", "0", "0", "0"))
    assert second == SourceRecord("8", "maker-c", ("1", "0.333", "ST4000DM000", "41", "1", "1", "1"))


@pytest.mark.parametrize("content", [two_drives(brand="Maxtor"), two_drives(last="fac_x"), b"", b"\x80\x05N."])
def test_another_source_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="fetch the pinned release"):
        parse_drives(content)


def test_all_drives_are_there_once(records: tuple[SourceRecord, ...]) -> None:
    assert len({record.record_id for record in records}) == len(records) == 52_422
    assert {len(record.values) for record in records} == {len(COLUMNS)}
    assert Counter(record.values[0] for record in records) == {"0": 49_537, "1": 2_885}
    assert {value for record in records for value in record.values[4:]} == {"0", "1"}


def test_makers_differ_in_size_failures_and_counters(records: tuple[SourceRecord, ...]) -> None:
    drives = Counter(record.site for record in records)
    failed = Counter(record.site for record in records if record.values[0] == "1")
    pending = Counter(record.site for record in records if record.values[6] == "1")
    assert [drives[site] for site in SITES] == [10_379, 13_242, 25_271, 3_530]
    assert [failed[site] for site in SITES] == [61, 244, 2_402, 178]
    assert [round(pending[site] / drives[site], 4) for site in SITES] == [0.0020, 0.0213, 0.0584, 0.0822]


def test_each_maker_gets_a_file(heart_cache: Path, tmp_path: Path) -> None:
    files = prepare_sites(HARD_DRIVES, heart_cache, tmp_path)
    assert set(files) == set(SITES)
    assert dataset_of_file("data/drives.csv") is HARD_DRIVES
    lines = files["maker-d"].read_text().splitlines()
    assert lines[0] == "record_id,split," + ",".join(COLUMNS)
    assert len(lines) == 1 + 3_530
    assert Counter(line.split(",")[1] for line in lines[1:])["train"] == pytest.approx(0.7 * 3_530, abs=3 * 27)
