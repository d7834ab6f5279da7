"""The exact answers to a request on public data, fetched from its pinned archive; no site and no ledger is involved."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from almoner.data.prepare import prepare_sites
from almoner.data.registry import dataset_of_file
from almoner.errors import DataError, PolicyViolation
from almoner.release.dictionary import dictionary_problems
from almoner.release.tally import exact_cells
from almoner.schema.declarations import Declarations, job_sites
from almoner.schema.statistics import StatisticsSpec


def public_cells(spec: StatisticsSpec, declarations: Declarations, cache: Path) -> tuple[NDArray[np.int64], ...]:
    """Return a request's integers at each site of its study, int64[D], without noise.

    *Guarantee*: each site declares the data set as public, and what is read is the registered archive of it, never a
    site's own file.

    Args:
        cache: where fetched archives are kept.

    Raises:
        PolicyViolation: the data is not registered as public, or the request asks for what is not declared.
        DataError: the archive cannot be fetched.
    """
    found = []
    for site in job_sites(spec, declarations):
        config = declarations.sites[site].datasets[spec.dataset]
        known = dataset_of_file(config.path)
        if not config.public or known is None:
            why = "its site configuration says public: false" if not config.public else "no registered archive has it"
            raise PolicyViolation(
                f"data set {spec.dataset} of {site}: {why} → the true answer may be used for public data alone"
            )
        for finding, remedy in dictionary_problems(spec, config):
            raise PolicyViolation(f"{site}: {finding} → {remedy}")
        with tempfile.TemporaryDirectory(prefix="almoner-public-") as folder:
            path = prepare_sites(known, cache, Path(folder)).get(site)
            if path is None:
                raise DataError(f"data set {known.name}: has no records of {site} → correct provisioning/")
            found.append(exact_cells(path, spec))
    return tuple(found)
