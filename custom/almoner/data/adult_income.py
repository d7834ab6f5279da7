"""Reads "Adult" (census income, 1994) as one census office holds it: 48,842 persons, raw.

What the source does not know it writes as `?` (6,465 fields); it stays, and is no category. The source has no ids: a
person's is the number of the row. Income is a class (<=50K or >50K), not an amount.
"""

import io

import pyarrow as pa
import pyarrow.parquet

from almoner.data.records import SourceRecord
from almoner.errors import DataError

COLUMNS = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "educational-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "gender",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "income",
)
"""The columns of the source, which are those of the site's file."""

SITE = "census-office"
_SOURCE = "adult.parquet.brotli"


def parse_adult(content: bytes) -> tuple[SourceRecord, ...]:
    """Read all persons of the source table, in its order.

    Args:
        content: the parquet file of the archive.

    Raises:
        DataError: when it is not that table.
    """
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(content))
    except (OSError, pa.ArrowInvalid):
        raise DataError(f"{_SOURCE}: not a parquet file → fetch the pinned release of the data set") from None
    if tuple(table.column_names) != COLUMNS:
        raise DataError(f"{_SOURCE}: other columns than expected → fetch the pinned release of the data set")
    rows = zip(*(table[name].cast(pa.string()).to_pylist() for name in COLUMNS), strict=True)
    return tuple(SourceRecord(str(number), SITE, row) for number, row in enumerate(rows))
