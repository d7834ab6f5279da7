"""Reads 52,422 hard drives of a data centre as their four makers hold them: which failed, and what their counters said.

One row is one drive: whether it failed while it was observed, how many days it had run by then (or by the end of the
study), its temperature, and whether three of its error counters were above 0. The source does not say on which day
temperature and counters were read; see `workloads/predictive_maintenance.py` for what may be predicted from them.

The sites are the source's four brands: maker-a is HGST, maker-b Hitachi, maker-c Seagate with a few drives of Samsung
and Toshiba, as the source groups them, maker-d Western Digital (WDC). So makers differ in number of drives (seven to
one), age, counters, and share of failures (0.6 % to 9.5 %). Of Seagate's drives the source names the model, of the
others the maker alone. A drive's id is the number that the source gives it.
"""

from almoner.data.pickled_table import read_table
from almoner.data.records import SourceRecord
from almoner.errors import DataError

COLUMNS = ("failed", "days", "model", "temperature", "reallocated", "read_errors", "pending")
"""The columns of the sites' files. Temperature in °C; the last three are 1 where reallocated sectors, raw read errors
and pending sectors are above 0."""

SITE_OF_BRAND = {"HGST": "maker-a", "Hitachi": "maker-b", "ST": "maker-c", "WDC": "maker-d"}

SITES = tuple(SITE_OF_BRAND.values())

_SOURCE = "hdfail.pickle"
_SOURCE_COLUMNS = (
    "pid",
    "event",
    "time",
    "num_temp",
    "fac_brand",
    "fac_type",
    "fac_rsc",
    "fac_rer",
    "fac_psc",
)


def parse_drives(content: bytes) -> tuple[SourceRecord, ...]:
    """Read the drives of the source table, in its order.

    Args:
        content: the pickle of the archive, of which nothing runs.

    Raises:
        DataError: when it is not that table.
    """
    table = read_table(content)
    if set(table) != set(_SOURCE_COLUMNS) or not set(table["fac_brand"].tolist()) <= set(SITE_OF_BRAND):
        raise DataError(f"{_SOURCE}: other columns or brands than expected → fetch the pinned release of the data set")
    rows = zip(*(table[name].tolist() for name in _SOURCE_COLUMNS), strict=True)
    return tuple(
        SourceRecord(
            str(number),
            SITE_OF_BRAND[brand],
            (str(event), f"{days:.3f}", model, f"{temperature:g}", str(reallocated), str(read_errors), str(pending)),
        )
        for number, event, days, temperature, brand, model, reallocated, read_errors, pending in rows
    )
