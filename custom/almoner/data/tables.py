"""Renders what a loader read as the CSV file of each site."""

from collections.abc import Callable, Iterable

from almoner.data.archive import Members
from almoner.data.records import ID_COLUMN, SPLIT_COLUMN, SourceRecord
from almoner.data.split import SplitRule
from almoner.errors import DataError


def table_files(
    columns: tuple[str, ...],
    loader: Callable[[bytes], tuple[SourceRecord, ...]],
    members: Members,
    split: SplitRule,
) -> dict[str, bytes]:
    """Render the site files of a table that is one member of its archive.

    Args:
        columns: raw columns of a site's file, in order.
        loader: reads the member's bytes into records.
        members: the one member.
        split: of the data set.

    Raises:
        DataError: when the member is not the expected table.
    """
    (content,) = members.values()
    parts: dict[str, list[SourceRecord]] = {}
    for record in loader(content):
        parts.setdefault(record.site, []).append(record)
    return {site: render_table(columns, own, split) for site, own in sorted(parts.items())}


def render_table(columns: tuple[str, ...], records: Iterable[SourceRecord], split: SplitRule) -> bytes:
    """Render records as the CSV file of a site: record id, split, then the raw columns.

    Raises:
        DataError: when a field holds a comma, a quote or a line break, which an unquoted file cannot.
    """
    rows: list[tuple[str, ...]] = [(ID_COLUMN, SPLIT_COLUMN, *columns)]
    rows += [(record.record_id, split(record.record_id), *record.values) for record in records]
    if any(set(field) & set(',"\r\n') for row in rows for field in row):
        raise DataError("site file: a field holds a comma, quote or line break → clean it in the loader")
    return "".join(",".join(row) + "\n" for row in rows).encode()
