"""Reads the UCI heart disease table as four hospitals hold it.

The table is the one behind FLamby's Fed-Heart-Disease (arXiv:2210.04620), and is cut the same way: the
columns slope, ca and thal are dropped (outside Cleveland they are mostly empty), then the records with
an empty field. 303 (Cleveland), 261 (Hungary), 130 (VA Long Beach) and 46 (Switzerland) of 920 are left.

A `chol` of 0 is what the source wrote for "not measured": in all of Switzerland's rows, and in 49 of the
VA's, of which 33 are kept. The raw value stays; what it means is the workload's affair.
"""

import csv
import io

from almoner.data.records import SourceRecord
from almoner.errors import DataError

COLUMNS = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalch", "exang", "oldpeak", "num")
"""The columns that are kept, in the order of the sites' files."""

SITES = {
    "Cleveland": "cleveland",
    "Hungary": "hungary",
    "Switzerland": "switzerland",
    "VA Long Beach": "va-long-beach",
}

_SOURCE = "heart_disease_uci.csv"
_CORRECTED_HOSPITALS = {"304": "Hungary"}
"""Record 304 is filed under Cleveland, which has 303; with it Hungary has its documented 294."""


def parse_heart_disease(content: bytes) -> tuple[SourceRecord, ...]:
    """Read the complete records of the source table, in the order of the source.

    Args:
        content: the CSV file of the archive, UTF-8.

    Raises:
        DataError: when a column is missing or a hospital is unknown.
    """
    reader = csv.DictReader(io.StringIO(content.decode(errors="replace"), newline=""))
    if missing := {"id", "dataset", *COLUMNS} - set(reader.fieldnames or ()):
        raise DataError(f"{_SOURCE}: no column {', '.join(sorted(missing))} → fetch the pinned release of the data set")
    records = (_record(row) for row in reader)
    return tuple(record for record in records if all(record.values))


def _record(row: dict[str, str | None]) -> SourceRecord:
    """Make a record of a row; a field that is not there is empty."""
    record_id = row["id"] or ""
    hospital = _CORRECTED_HOSPITALS.get(record_id, row["dataset"] or "")
    if hospital not in SITES:
        raise DataError(f"{_SOURCE}: unknown hospital → fetch the pinned release of the data set")
    return SourceRecord(record_id, SITES[hospital], tuple((row[column] or "").strip() for column in COLUMNS))
