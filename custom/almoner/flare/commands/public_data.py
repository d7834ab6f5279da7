"""Gives the sites of a consortium on this machine their parts of registered public data, and commits them to it."""

from pathlib import Path

from almoner.data.prepare import prepare_sites
from almoner.data.registry import dataset_of_file
from almoner.errors import DataError
from almoner.flare.site.dataset_commitments import commit_site_data
from almoner.flare.site.site_files import load_kit


def place_public_data(consortium: Path, cache: Path) -> dict[str, tuple[str, ...]]:
    """Fetch every registered data set that a site declares as public, and write its file where the site looks for it.

    Args:
        consortium: the folder of a provisioned consortium; kits below `sites/`.
        cache: where fetched archives are kept.

    Returns:
        The files of each site, relative to its folder.

    Raises:
        DataError: no site declares registered public data, or it cannot be fetched.
    """
    sites = {path.parent.name: load_kit(path) for path in sorted(consortium.glob("sites/*/kit"))}
    wanted = {
        site: tuple(dataset.path for dataset in files.config.datasets.values() if dataset.public)
        for site, files in sites.items()
    }
    known = {path: dataset for paths in wanted.values() for path in paths if (dataset := dataset_of_file(path))}
    if not known:
        raise DataError(f"{consortium}: no site there declares registered public data → place each site's data by hand")
    for dataset in known.values():
        prepare_sites(dataset, cache, consortium / "sites")
    placed = {site: tuple(path for path in paths if path in known) for site, paths in wanted.items()}
    for site, paths in placed.items():
        if paths:
            commit_site_data(sites[site])
    return placed
