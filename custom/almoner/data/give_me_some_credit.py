"""Reads "Give Me Some Credit" as ten banks hold it: credit default within two years, 150,000 accounts.

The table has no banks. An account's bank is a declared function of the account alone. Five age bands times two bands of
monthly income make ten home banks, from bank-01 (under 35, under 5,000) to bank-10 (65 and older, 5,000 or more). An
income that is not known falls into either band, and one account in five goes to any of the ten, both by a keyed hash of
its id. So banks differ in size (three to one), customers, and share of defaults (3 % to 11 %).

Some 600 rows equal another one but for the id. They are kept: an account is what has an id.
"""

import csv
import gzip
import hashlib
import hmac
import io
import zlib
from bisect import bisect_right

from almoner.data.records import SourceRecord
from almoner.errors import DataError

COLUMNS = (
    "defaulted",
    "utilisation",
    "age",
    "late_30_59",
    "debt_ratio",
    "monthly_income",
    "open_lines",
    "late_90",
    "real_estate_lines",
    "late_60_89",
    "dependents",
)
"""The columns of the sites' files, in the order of the source."""

AGE_BANDS = (35, 45, 55, 65)
"""Where the second to fifth age band begin, in years."""

INCOME_BAND = 5_000
"""Where the upper band of monthly income begins."""

SITES = tuple(f"bank-{number:02}" for number in range(1, 2 * len(AGE_BANDS) + 3))

_SOURCE = "creditscoring1.csv.gz"
_SOURCE_COLUMNS = (
    "id",
    "SeriousDlqin2yrs",
    "RevolvingUtilizationOfUnsecuredLines",
    "age",
    "NumberOfTime30-59DaysPastDueNotWorse",
    "DebtRatio",
    "MonthlyIncome",
    "NumberOfOpenCreditLinesAndLoans",
    "NumberOfTimes90DaysLate",
    "NumberRealEstateLoansOrLines",
    "NumberOfTime60-89DaysPastDueNotWorse",
    "NumberOfDependents",
)
_NOT_KNOWN = "NA"
_BANK_KEY = b"almoner/credit/bank/1"
_STRAYS = 5
"""One account in so many is not at its home bank."""


def parse_credit(content: bytes) -> tuple[SourceRecord, ...]:
    """Read the accounts of the source table, in its order; what is not known is empty.

    Args:
        content: the compressed CSV file of the archive.

    Raises:
        DataError: when it is not that table.
    """
    try:
        text = gzip.decompress(content).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        raise DataError(f"{_SOURCE}: not a compressed text → fetch the pinned release of the data set") from None
    header, *rows = [*csv.reader(io.StringIO(text, newline=""))] or [[]]
    if tuple(header) != _SOURCE_COLUMNS or any(len(row) != len(header) for row in rows):
        raise DataError(f"{_SOURCE}: other columns than expected → fetch the pinned release of the data set")
    cleaned = (tuple("" if field == _NOT_KNOWN else field for field in row) for row in rows)
    return tuple(SourceRecord(row[0], bank_of(row[0], row[3], row[6]), row[1:]) for row in cleaned)


def bank_of(record_id: str, age: str, income: str) -> str:
    """Return the bank that an account is at; a function of its three arguments.

    Args:
        record_id: the account.
        age: in years.
        income: a month; empty if not known.

    Raises:
        DataError: when age or income is no number.
    """
    tag = hmac.new(_BANK_KEY, record_id.encode(), hashlib.sha256).digest()
    if int.from_bytes(tag[:8], "big") % _STRAYS == 0:
        return SITES[int.from_bytes(tag[8:16], "big") % len(SITES)]
    try:
        is_upper = float(income) >= INCOME_BAND if income else tag[16] % 2 == 1
        return SITES[2 * bisect_right(AGE_BANDS, float(age)) + is_upper]
    except ValueError:
        raise DataError(f"{_SOURCE}: no number for age or income → fetch the pinned release of the data set") from None
