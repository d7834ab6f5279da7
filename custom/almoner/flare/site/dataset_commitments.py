"""Commits a site to its data files, in its ledger, before jobs ask about them."""

from pathlib import Path

from almoner.data.commitment import commit_datasets, recorded_commitment
from almoner.flare.site.site_files import LEDGER, SiteFiles
from almoner.schema.site import SiteConfig


def commit_site_data(site: SiteFiles) -> dict[str, str]:
    """Read every data set of a site, and record salted commitments to them; later decisions name them.

    Returns:
        The commitment to each data set. They are for the site's own ledger, not to be sent.

    Raises:
        DataError: a file cannot be read.
        LedgerError: the ledger cannot be written.
    """
    files = {name: site.folder / config.path for name, config in site.config.datasets.items()}
    made = commit_datasets(site.ledger_folder, files)
    commitments = {name: found.commitment for name, found in made.datasets.items()}
    with site.ledger() as ledger:
        ledger.record("remark", {"remark": "data sets committed", "datasets": commitments})
    return commitments


def current_commitments(config: SiteConfig, folder: Path) -> dict[str, str]:
    """Return the commitment to each data set of a site, "" if there is none that holds now; opens no data.

    Args:
        folder: the site's own folder.

    Raises:
        DocumentError: the file of commitments is damaged.
    """
    kept = (folder / LEDGER).parent
    return {name: recorded_commitment(kept, name, folder / found.path) for name, found in config.datasets.items()}
