"""Holds out a part of each site's training units, to choose hyper-parameters on; test records are never touched."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from almoner.experiments.public import PublicSite
from almoner.training.units import UnitData, UnitRecords

SHARE = 0.25
"""Of the training units, which is held out."""


def held_out(sites: Mapping[str, PublicSite], seed: int) -> dict[str, PublicSite]:
    """Return the sites with a part of their training units in the place of their test records.

    *Guarantee*: no test record is in the result; a unit is on one side with all of its records. The split is drawn from
    the seed and the number of units, which is for public data alone.

    Args:
        sites: by name.
        seed: names the split.
    """
    rng = np.random.default_rng(seed)
    return {name: _split(site, rng) for name, site in sites.items()}


def _split(site: PublicSite, rng: np.random.Generator) -> PublicSite:
    """Split one site; its declared size shrinks by the same share."""
    is_out = np.zeros(site.data.train.num_units, dtype=bool)
    is_out[rng.permutation(len(is_out))[: round(SHARE * len(is_out))]] = True
    data = UnitData(train=_units(site.data.train, ~is_out), test=_units(site.data.train, is_out))
    nominal_records = max(1, round((1 - SHARE) * site.config.nominal_records))
    return PublicSite(site.config.model_copy(update={"nominal_records": nominal_records}), data)


def _units(records: UnitRecords, wanted: NDArray[np.bool_]) -> UnitRecords:
    """Return the records of some units, which are numbered anew."""
    number = np.cumsum(wanted) - 1
    chosen = np.flatnonzero(wanted[records.unit])
    index = torch.from_numpy(chosen)
    return UnitRecords(records.features[index], records.targets[index], number[records.unit[chosen]])
