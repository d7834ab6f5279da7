"""Reading a site's file and adding it up: exact, one record at a time, and never an error that data can cause."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.statistics_cases import COLUMNS, EVERY_KIND, HEADER, contribution, exact, people, request, write

from almoner.errors import DataError
from almoner.privacy.statistics_plan import statistics_parts
from almoner.release import records
from almoner.release.tally import SATURATION, exact_cells

SPEC = request()
FIELDS = st.sampled_from(
    [b"", b"?", b"F", b"M", b" M ", b"Rome", b"Oslo", b"17", b"90", b"-1", b"1e3", b"1e999", b"nan", b"inf", b"-0.25",
     b"\xef\xbb\xbf", b"\xef\xbb\xbf17",
     b"99.75", b"1_0", b"\xff\xfe", b"\x00", b"0x10", b'"', b'"a', b"'", b"\r", b"9" * 400, b"\xd9\xa3", b"+5", b"5."]
)  # fmt: skip
LINES = st.one_of(
    st.lists(FIELDS, min_size=1, max_size=8).map(b",".join),
    st.lists(FIELDS, min_size=6, max_size=6).map(b",".join),
    st.binary(max_size=60).map(lambda text: text.replace(b"\n", b"")),
    st.just(b"0,30,40,F,x,Rome"),
)


def test_cells_are_those_of_plain_arithmetic(tmp_path: Path) -> None:
    lines = people(3_000)
    assert np.array_equal(exact_cells(write(tmp_path / "a.csv", lines), SPEC), exact(SPEC, lines))


def test_chunks_of_any_size_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv", people(200))
    whole = exact_cells(path, SPEC)
    for size in (1, 7, 64, 1000):
        monkeypatch.setattr(records, "CHUNK_BYTES", size)
        assert np.array_equal(exact_cells(path, SPEC), whole)


def test_a_byte_order_mark_means_the_same_wherever_a_chunk_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow drops one at the start of each buffer: what a line is would depend on those before it."""
    path, mark, rows = tmp_path / "marked.csv", b"\xef\xbb\xbf", [b"%d,0,30,F,x,Rome" % (20 + i) for i in range(40)]
    lines = [line for row in rows for line in (mark + row, row)]
    path.write_bytes(b"\n".join([b"age,record_id,hours,sex,notes,city", *lines, b""]))
    spec = request(({"name": "total", "kind": "sum", "share": 1.0, "column": "age"},))
    expected = exact_cells(path, spec)
    for size in (17, 20, 37, 64, 200):
        monkeypatch.setattr(records, "CHUNK_BYTES", size)
        assert np.array_equal(exact_cells(path, spec), expected)


@given(st.lists(LINES, max_size=6), LINES, st.integers(0, 6), st.booleans())
@settings(max_examples=200, deadline=None)
def test_one_line_changes_one_cell_of_a_part_by_its_bound_at_most(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], extra: bytes, place: int, crlf: bool
) -> None:
    """The sensitivity that the noise is made for, on whatever bytes a record consists of, wherever it stands."""
    folder, end = tmp_path_factory.getbasetemp(), b"\r\n" if crlf else b"\n"
    before = exact_cells(write(folder / "before.csv", lines, end), SPEC)
    with_it = [*lines[:place], extra, *lines[place:]]
    after = exact_cells(write(folder / "after.csv", with_it, end), SPEC)
    alone = exact_cells(write(folder / "alone.csv", [extra], end), SPEC)
    assert np.array_equal(after - before, alone)  # a function of its own line alone
    for part in statistics_parts(SPEC):
        change = np.abs(alone[part.cells])
        assert np.count_nonzero(change) <= 1
        assert change.sum() <= part.bound


@pytest.mark.parametrize("query", EVERY_KIND, ids=lambda query: str(query["name"]))
def test_every_bound_is_reached(query: dict[str, object]) -> None:
    """No part is charged for more than a record can do (by more than half a step of a centre)."""
    spec = request(({**query, "share": 1.0, "by": [], "where": {}},))
    extremes = [f"0,{age},{hours},F,x,Rome".encode() for age in (17, 90, 53) for hours in (-1, 99, 49)]
    most = np.max([np.abs(contribution(spec, line)) for line in extremes], axis=0)
    for part in statistics_parts(spec):
        assert most[part.cells].max() in (part.bound, part.bound - 1)


@pytest.mark.parametrize(
    "text",
    [b"1,", b"1,2,3,4,5,6,7", b"0,30,40,F,x,Rome,", b"0,30,40,F,\r,Rome\r0,30,40,F,x,Rome", b'"0,30,40,F,x,Rome"'],
)
def test_a_line_with_another_number_of_fields_is_no_record(tmp_path: Path, text: bytes) -> None:
    count = request(({"name": "n", "kind": "count", "share": 1.0},))
    assert exact_cells(write(tmp_path / "a.csv", [text, b"0,30,40,F,x,Rome"]), count).sum() in (1, 2)
    cells = exact_cells(write(tmp_path / "a.csv", [text]), count)
    assert cells.sum() == (text.count(b",") == 5)


def test_a_line_of_any_length_costs_no_memory_and_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "CHUNK_BYTES", 1 << 12)
    good, long = b"0,30,40,F,x,Rome", b"0,30,40,F," + b"x" * 200_000 + b",Rome"
    count = request(({"name": "n", "kind": "count", "share": 1.0},))
    for lines in ([good, long, good], [long], [long, good], [good, long]):
        assert exact_cells(write(tmp_path / "a.csv", lines), count)[0] == lines.count(good)
        (tmp_path / "a.csv").write_bytes(HEADER.encode() + b"\n" + b"\n".join(lines))  # without a last line break
        assert exact_cells(tmp_path / "a.csv", count)[0] == lines.count(good)
    edge = b"0,30,40,F," + b"x" * (records.MAX_LINE_BYTES - 15) + b",Rome"
    for line, counts in ((edge, 0), (edge[:-6] + b",Rome", 1)):
        assert len(line) == records.MAX_LINE_BYTES - counts
        for end in (b"\n", b""):
            (tmp_path / "a.csv").write_bytes(HEADER.encode() + b"\n" + line + end)
            assert exact_cells(tmp_path / "a.csv", count)[0] == counts


def test_sums_saturate_instead_of_wrapping(tmp_path: Path) -> None:
    from almoner.release import tally

    totals = [SATURATION - 1]
    part = statistics_parts(request(({"name": "n", "kind": "count", "share": 1.0},)))[0]
    tally._add_part(totals, part, np.zeros(5, dtype=np.int64), None)
    assert totals == [SATURATION + 4]  # Python integers: nothing wraps before the end


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"age,sex\n1,F\n", "names no column city"),
        (b"", "names no column"),
        (HEADER.replace("notes", "age").encode() + b"\n", "names a column twice"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_what_is_public_about_a_file_may_be_wrong_in_one_line(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        exact_cells(tmp_path / "a.csv", SPEC)
    assert "\n" not in str(caught.value)
    assert " → " in str(caught.value)


def test_the_requests_here_name_all_columns() -> None:
    assert set(SPEC.columns) == set(COLUMNS)
