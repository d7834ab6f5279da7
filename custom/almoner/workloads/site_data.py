"""Loads a site's data set as the site declares it, a folder of images or a file, with as many records of a unit."""

from pathlib import Path

from almoner.schema.site import DatasetConfig
from almoner.training.units import UnitData, bound_records
from almoner.workloads.base import Workload
from almoner.workloads.image_workload import ImageWorkload, verify_takes
from almoner.workloads.registry import inventory


def load_site_data(workload: Workload, path: Path, dataset: DatasetConfig) -> UnitData:
    """Load a data set.

    *Guarantee*: a unit has no more records than the site declares, whatever the file has of it: `max_records_per_unit`,
    or one. Not bounded are a unit's records where one is declared and the workload makes several of a line.

    Raises:
        PolicyViolation: the data set is a folder of images, and the workload takes none.
        DataError: as `Workload.load`.
    """
    verify_takes(workload, dataset.images)
    if dataset.images is not None and isinstance(workload, ImageWorkload):
        loaded = workload.load_images(path, dataset.images)
    else:
        loaded = workload.load(path)
    return bound_records(loaded, dataset.max_records_per_unit or _records_of_a_line(workload))


def _records_of_a_line(workload: Workload) -> int | None:
    """Return 1, or None for a workload that makes several records of one line; an image is one record."""
    known = inventory().usable.get(workload.name)
    makes_several = known is not None and not known.one_record_per_unit and not isinstance(workload, ImageWorkload)
    return None if makes_several else 1
