"""Data that is registered public: what may be used outside the ledger, and how a job's sites come to it.

Nothing in this package is charged to a ledger. So nothing here takes data that its site's configuration does not
declare `public: true`: the type `PublicSite` cannot be made of any other.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from almoner.data.prepare import prepare_sites
from almoner.data.registry import dataset_of_file
from almoner.errors import DataError, PolicyViolation
from almoner.schema.declarations import Declarations, job_sites
from almoner.schema.job import JobSpec
from almoner.schema.site import DatasetConfig
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.registry import workload
from almoner.workloads.site_data import load_site_data


def verify_public(config: DatasetConfig) -> None:
    """Refuse data that may not be used outside the ledger.

    Raises:
        PolicyViolation: when the configuration does not say `public: true`.
    """
    if config.public is not True:
        raise PolicyViolation(
            f"data set of {config.population}: not registered public → baselines and attacks run on public data only"
        )


@dataclass(frozen=True, slots=True, eq=False)
class PublicSite:
    """A site's data that is registered public, so that it may be used outside the ledger.

    Raises:
        PolicyViolation: when the configuration does not say `public: true`.
    """

    config: DatasetConfig
    data: UnitData

    def __post_init__(self) -> None:
        verify_public(self.config)


def load_public_sites(spec: JobSpec, declarations: Declarations, cache: Path) -> dict[str, PublicSite]:
    """Load what a job would train on, if all of it is registered public.

    *Guarantee*: what is read is the registered archive of the data, never a site's own file.

    Args:
        spec: the job.
        declarations: of its consortium.
        cache: folder that keeps the public data's archive.

    Raises:
        PolicyViolation: a site's data is not registered public, or no workload has that name.
        DataError: no archive is registered for it, as of a folder of images; or it cannot be fetched, or holds nothing
            of a site.
        DocumentError: there are fewer sites than the job wants.
    """
    task = workload(spec.workload)
    configs = {site: declarations.sites[site].datasets[spec.dataset] for site in job_sites(spec, declarations)}
    for config in configs.values():
        verify_public(config)
        if config.images is not None:
            raise DataError(
                f"{config.path}: a folder of images is no registered public archive → choose a job on a file"
            )
    with tempfile.TemporaryDirectory(prefix="almoner-public-") as folder:
        paths = _lay_out(configs, cache, Path(folder))
        return {site: PublicSite(config, load_site_data(task, paths[site], config)) for site, config in configs.items()}


def pool(sites: Mapping[str, PublicSite]) -> PublicSite:
    """Put the data of all sites together; units of different sites stay different units.

    Raises:
        DataError: when there are no sites.
    """
    verify_not_empty(sites)
    parts = tuple(sites.values())
    nominal_records = sum(part.config.nominal_records for part in parts)
    config = parts[0].config.model_copy(update={"population": "pooled", "nominal_records": nominal_records})
    data = UnitData(
        train=_concatenate([part.data.train for part in parts]), test=_concatenate([part.data.test for part in parts])
    )
    return PublicSite(config, data)


def views_of(pooled: PublicSite, sites: Mapping[str, PublicSite]) -> dict[str, PublicSite]:
    """Return the sites with their records as parts of the pooled ones, so that they are in memory once.

    Args:
        pooled: what `pool` made of them.
        sites: in the same order.
    """
    train, test = (_cuts([getattr(site.data, part) for site in sites.values()]) for part in ("train", "test"))
    return {
        name: PublicSite(
            site.config,
            UnitData(
                _view(pooled.data.train, train[number : number + 2], site.data.train.unit),
                _view(pooled.data.test, test[number : number + 2], site.data.test.unit),
            ),
        )
        for number, (name, site) in enumerate(sites.items())
    }


def test_records(sites: Mapping[str, PublicSite]) -> UnitRecords:
    """Return the test records of all sites together.

    Raises:
        DataError: when there are no sites.
    """
    verify_not_empty(sites)
    return _concatenate([site.data.test for site in sites.values()])


def verify_not_empty(sites: Mapping[str, PublicSite]) -> None:
    """Refuse a federation of nobody.

    Raises:
        DataError: when there are no sites.
    """
    if not sites:
        raise DataError("federation: no sites → give at least one")


def _lay_out(configs: dict[str, DatasetConfig], cache: Path, folder: Path) -> dict[str, Path]:
    """Write each site's file below a folder, by site."""
    found: dict[str, Path] = {}
    for path in sorted({config.path for config in configs.values()}):
        known = dataset_of_file(path)
        if known is None:
            raise DataError(f"{path}: no registered public data set has this file → choose a job on one that has")
        written = prepare_sites(known, cache, folder)
        found |= {site: file for site, file in written.items() if site in configs and configs[site].path == path}
    if missing := sorted(set(configs) - set(found)):
        raise DataError(f"public data: holds nothing of {', '.join(missing)} → choose a job of its own sites")
    return found


def _cuts(parts: list[UnitRecords]) -> list[int]:
    """Return where each part begins, and where the last one ends."""
    return [0, *accumulate(len(part.unit) for part in parts)]


def _view(whole: UnitRecords, cut: list[int], unit: NDArray[np.int64]) -> UnitRecords:
    """Return the records between two cuts, with the site's own unit numbers."""
    own = slice(*cut)
    return UnitRecords(whole.features[own], whole.targets[own], unit)


def _concatenate(parts: list[UnitRecords]) -> UnitRecords:
    """Append records, numbering the units on."""
    offsets = np.cumsum([0, *(part.num_units for part in parts)])
    return UnitRecords(
        torch.cat([part.features for part in parts]),
        torch.cat([part.targets for part in parts]),
        np.concatenate([part.unit + offset for part, offset in zip(parts, offsets[:-1], strict=True)]),
    )
