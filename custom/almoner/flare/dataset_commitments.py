"""Commits a site to its data files, in its ledger, before jobs ask about them."""

from almoner.data.commitment import commit_datasets
from almoner.flare.site_files import SiteFiles


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
