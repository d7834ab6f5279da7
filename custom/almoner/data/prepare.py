"""Lays a public data set out as if each site had always held its own part."""

from functools import partial
from pathlib import Path

from almoner.data.atomic import write_atomically
from almoner.data.fetch import read_members
from almoner.data.registry import PublicDataset
from almoner.data.split import DEFAULT_TRAIN_FRACTION, split_of


def prepare_sites(
    dataset: PublicDataset,
    cache: Path,
    root: Path,
    *,
    split_key: bytes | None = None,
    train_fraction: float = DEFAULT_TRAIN_FRACTION,
) -> dict[str, Path]:
    """Fetch a public data set and write `<root>/<site>/<site_file>` for each of its sites.

    Guarantee: each file appears whole or not at all, with mode 600. Which split a record is in depends on its id
    and the key alone; or, of a data set that is published in two parts, on its part alone.

    Args:
        dataset: which data set.
        cache: folder that keeps the downloaded archive.
        root: folder that holds one folder a site.
        split_key: names the split; the data set's own public key if None.
        train_fraction: expected share of records in train.

    Returns:
        The file of each site, by site name.

    Raises:
        DataError: when the data cannot be fetched, or a file cannot be written.
    """
    key = dataset.split_key if split_key is None else split_key
    split = partial(split_of, key=key, train_fraction=train_fraction)
    paths = {}
    for site, content in dataset.site_files(read_members(dataset.archive, cache), split).items():
        paths[site] = root / site / dataset.site_file
        write_atomically(paths[site], content)
    return paths
