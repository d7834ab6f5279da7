"""Reads a site's file in bounded memory: chunks of records, a column as small integers.

One line is one record, without quoting; carriage returns are dropped. What becomes of a record is a function of its
line alone: a line with another number of fields than the header, an empty one, and one of `MAX_LINE_BYTES` or more are
no records; a field that cannot be read counts as missing. Nothing in a line raises.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from almoner.errors import DataError
from almoner.schema.columns import AskedColumn, CategoryColumn

Codes = NDArray[np.int64]
"""One value a record: a number in steps, or the index of a category; MISSING if it cannot be read."""

MISSING = -(2**40)
"""Further from 0 than any number of steps."""
CHUNK_BYTES = 4 << 20
MAX_LINE_BYTES = 1 << 16
_NUMBER = r"^-?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,2})?$"
"""A number that float64 can hold."""
_BOM = b"\xef\xbb\xbf"
_UNQUOTED = pyarrow.csv.ParseOptions(quote_char=False)


@dataclass(frozen=True)
class Records:
    """Some records of a file.

    Args:
        size: how many, n.
        columns: int64[n] of each column.
    """

    size: int
    columns: dict[str, Codes]


def read_records(path: Path, columns: dict[str, AskedColumn]) -> Iterator[Records]:
    """Read columns of a file, chunk by chunk.

    Args:
        path: comma-separated, unquoted; its first line names the columns.
        columns: column → how it is asked for.

    Raises:
        DataError: the file cannot be read, or its first line lacks a column: public facts, which the site declared.
    """
    readers = {name: _reader(column) for name, column in columns.items()}
    try:
        with path.open("rb") as file:
            names = _header(path, file.readline(MAX_LINE_BYTES), columns)
            carry, skipping = b"", False
            while block := file.read(CHUNK_BYTES):
                lines, carry, skipping = _whole_lines(carry + block.replace(b"\r", b""), skipping)
                yield _records(lines, names, readers)
            yield _records(_whole_lines(carry + b"\n", skipping)[0], names, readers)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror} → correct the site's configuration") from None


def _header(path: Path, line: bytes, columns: dict[str, AskedColumn]) -> list[str]:
    """Return the names of all columns of a file."""
    names = [field.strip() for field in line.decode(errors="replace").removeprefix("\ufeff").strip("\r\n").split(",")]
    if missing := sorted(set(columns) - set(names)):
        raise DataError(f"{path}: its first line names no column {missing[0]} → correct the site's data dictionary")
    if len(set(names)) != len(names):
        raise DataError(f"{path}: its first line names a column twice → give each column its own name")
    return names


def _whole_lines(data: bytes, skipping: bool) -> tuple[bytes, bytes, bool]:
    """Return the whole lines, the rest to go on with, and whether that is inside a line that is too long.

    Args:
        skipping: whether the data begins inside such a line.
    """
    if skipping:
        _, newline, data = data.partition(b"\n")
        if not newline:
            return b"", b"", True
    whole, newline, rest = data.rpartition(b"\n")
    too_long = len(rest) >= MAX_LINE_BYTES
    return whole + newline, b"" if too_long else rest, too_long


def _well_formed(lines: bytes, num_fields: int) -> bytes:
    """Return the lines that are records: not empty, not too long, with the right number of fields."""
    letters = np.frombuffer(lines, dtype=np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    lengths = np.diff(ends, prepend=-1) - 1
    commas = np.diff(np.searchsorted(np.flatnonzero(letters == ord(",")), ends), prepend=0)
    good = (lengths > 0) & (lengths < MAX_LINE_BYTES) & (commas == num_fields - 1)
    if good.all():
        return lines
    starts = ends - lengths
    return b"".join(lines[starts[place] : ends[place] + 1] for place in np.flatnonzero(good))


def _records(lines: bytes, names: list[str], readers: dict[str, Callable[[pa.StringArray], Codes]]) -> Records:
    """Return the records that are in some lines."""
    lines = _well_formed(lines, len(names))
    if lines.startswith(_BOM):  # Arrow drops one at a buffer's start, so that where a chunk begins would matter
        lines = _BOM + lines
    if not lines:
        return Records(0, {name: np.zeros(0, dtype=np.int64) for name in readers})
    read = pyarrow.csv.ReadOptions(column_names=names, block_size=len(lines) + 1, use_threads=False)
    convert = pyarrow.csv.ConvertOptions(
        include_columns=list(readers) or names[:1],
        column_types=dict.fromkeys(names, pa.binary()),
        null_values=[],
        strings_can_be_null=False,
        check_utf8=False,
    )
    table = pyarrow.csv.read_csv(pa.BufferReader(lines), read, _UNQUOTED, convert)
    found = {}
    for name, reader in readers.items():
        encoded = table[name].combine_chunks().dictionary_encode()
        texts = pc.ascii_trim(encoded.dictionary.view(pa.string()), " ")
        found[name] = reader(texts)[encoded.indices.to_numpy(zero_copy_only=False)]
    return Records(table.num_rows, found)


def _reader(column: AskedColumn) -> Callable[[pa.StringArray], Codes]:
    """Return what reads the fields of a column, each by itself."""
    if isinstance(column, CategoryColumn):
        values = pa.array(column.values, pa.string())
        return lambda texts: _integers(pc.index_in(texts, values))
    low, high = column.bounds

    def numbers(texts: pa.StringArray) -> Codes:
        is_number = pc.match_substring_regex(texts, _NUMBER)
        steps = pc.divide(pc.cast(pc.if_else(is_number, texts, None), pa.float64()), column.step)
        clamped = pc.min_element_wise(
            pc.max_element_wise(steps, float(low), skip_nulls=False), float(high), skip_nulls=False
        )
        return _integers(pc.round(clamped))

    return numbers


def _integers(values: pa.Array) -> Codes:
    """Return whole numbers, MISSING where there is none."""
    codes: Codes = pc.fill_null(pc.cast(values, pa.int64()), MISSING).to_numpy(zero_copy_only=False)
    return codes
