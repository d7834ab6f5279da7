"""Images beside themselves, shifted by a pixel: more to learn from at no cost of privacy.

All copies of an image belong to its unit. A unit's gradient is the sum over its records, clipped once, so that a unit
with five records moves the sum no further than one with a single record.

Reference: De, Berrada, Hayes, Smith, Balle, arXiv:2204.13650, section 3 (augmentation multiplicity).
"""

from collections.abc import Mapping

import numpy as np
import torch

from almoner.errors import DataError
from almoner.experiments.public import PublicSite
from almoner.training.units import UnitData, UnitRecords

SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
"""Of the first copy, which is the image itself, and of those after it: pixels down and to the right."""


def with_shifted(sites: Mapping[str, PublicSite], copies: int) -> dict[str, PublicSite]:
    """Return sites whose training units hold so many copies of each of their images.

    Args:
        copies: from 1 to 5.

    Raises:
        DataError: the records are no images.
    """
    return {
        name: PublicSite(site.config, UnitData(train=_copied(site.data.train, copies), test=site.data.test))
        for name, site in sites.items()
    }


def _copied(records: UnitRecords, copies: int) -> UnitRecords:
    """Return all copies of all records; what leaves an image on one side comes in on the other."""
    if copies == 1:
        return records
    if records.features.dim() != 3:
        raise DataError("shifted copies: these records are no images (height × width) → a job on images")
    shifted = [torch.roll(records.features, shift, dims=(1, 2)) for shift in SHIFTS[:copies]]
    return UnitRecords(torch.cat(shifted), records.targets.repeat(copies), np.tile(records.unit, copies))
