"""Counts and adds up a site's records into the integers that a request asks for, before any noise.

Sums are exact: a chunk's partial sums stay below 2^53, where float64 addition of integers makes no error, and chunks
are added as Python integers. At the end every cell saturates at ±2^61, which brings no two data sets further apart.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from almoner.privacy.statistics_plan import Part, centre, statistics_parts
from almoner.release.records import MISSING, Codes, Records, read_records
from almoner.schema.columns import CategoryColumn
from almoner.schema.queries import (
    CountQuery,
    HistogramQuery,
    MeanQuery,
    QuantilesQuery,
    Query,
    ShareQuery,
    SumQuery,
    TableQuery,
    VarianceQuery,
)
from almoner.schema.statistics import StatisticsSpec

SATURATION = 2**61
_EXACT = 2**53


def exact_cells(path: Path, spec: StatisticsSpec) -> NDArray[np.int64]:
    """Return the integers that a request asks for, int64[D], without noise: they must not leave.

    *Guarantee*: one record changes one cell of each part, by at most the part's bound; see `statistics_plan`. A record
    counts in a query if each column that the query names can be read in it, and by nothing but its own line.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    parts = statistics_parts(spec)
    totals = [0] * spec.num_cells
    for records in read_records(path, spec.columns):
        for place, query in enumerate(spec.queries):
            own = [part for part in parts if part.query == place]
            _add(totals, records, spec, query, own)
    return np.array([min(max(total, -SATURATION), SATURATION) for total in totals], dtype=np.int64)


def _add(totals: list[int], records: Records, spec: StatisticsSpec, query: Query, parts: list[Part]) -> None:
    """Add what some records contribute to one query."""
    group, counts = _groups(records, spec, query)
    bin_of, bins, values = _measured(records, spec, query)
    kept = counts & (bin_of >= 0)
    cells = (group * bins + bin_of)[kept]
    for part, value in zip(parts, values, strict=True):
        _add_part(totals, part, cells, None if value is None else value[kept])


def _add_part(totals: list[int], part: Part, cells: Codes, values: Codes | None) -> None:
    """Add values, or ones, to the cells of a part, so few at a time that every sum is exact."""
    size = max(1, _EXACT // part.bound)
    for start in range(0, len(cells), size):
        some = slice(start, start + size)
        weights = None if values is None else values[some]
        for place, total in enumerate(np.bincount(cells[some], weights, part.num_cells)):
            totals[part.start + place] += int(total)


def _groups(records: Records, spec: StatisticsSpec, query: Query) -> tuple[Codes, NDArray[np.bool_]]:
    """Return each record's group, and whether it counts: its groups can be read, and it is where the query looks."""
    group, kept = np.zeros(records.size, dtype=np.int64), np.ones(records.size, dtype=bool)
    for name in query.by:
        kept &= records.columns[name] != MISSING
        group = group * spec.num_bins_of(name) + records.columns[name]
    for name, wanted in query.where.items():
        kept &= np.isin(records.columns[name], _places(spec, name, wanted))
    return group, kept


def _places(spec: StatisticsSpec, name: str, values: tuple[str, ...]) -> list[int]:
    """Return the indices of categories."""
    column = spec.columns[name]
    return [column.values.index(value) for value in values] if isinstance(column, CategoryColumn) else []


def _measured(records: Records, spec: StatisticsSpec, query: Query) -> tuple[Codes, int, tuple[Codes | None, ...]]:
    """Return each record's bin (below 0: it is left out), the number of bins, and what it adds to each part."""
    match query:
        case CountQuery():
            return np.zeros(records.size, dtype=np.int64), 1, (None,)
        case SumQuery():
            x = records.columns[query.column]
            return _if_read(x), 1, (None, x)
        case MeanQuery():
            x = records.columns[query.column]
            return _if_read(x), 1, (None, x - centre(spec, query.column).middle)
        case VarianceQuery():
            x, at = records.columns[query.column], centre(spec, query.column)
            v = np.where(x == MISSING, 0, x - at.middle)
            return _if_read(x), 1, (None, v, v * v - at.half_square)
        case ShareQuery():
            x = records.columns[query.column]
            chosen = np.isin(x, _places(spec, query.column, query.values))
            return np.where(x == MISSING, MISSING, np.where(chosen, 0, 1)), 2, (None,)
        case TableQuery():
            return (*_table(records, spec, query), (None,))
        case HistogramQuery() | QuantilesQuery():
            x, bins = records.columns[query.column], spec.num_bins_of(query.column, query.bin_steps)
            at, steps = centre(spec, query.column), query.bin_steps
            return np.where(x == MISSING, MISSING, (x - at.low) // steps), bins, (None,)


def _if_read(x: Codes) -> Codes:
    """Return bin 0 for records whose value can be read."""
    return np.where(x == MISSING, MISSING, 0)


def _table(records: Records, spec: StatisticsSpec, query: TableQuery) -> tuple[Codes, int]:
    """Return each record's cell of a table, and the number of cells."""
    cell, bins = np.zeros(1, dtype=np.int64), 1
    missing = np.zeros(1, dtype=bool)
    for name in query.columns:
        missing = missing | (records.columns[name] == MISSING)
        cell, bins = cell * spec.num_bins_of(name) + records.columns[name], bins * spec.num_bins_of(name)
    return np.where(missing, MISSING, cell), bins
