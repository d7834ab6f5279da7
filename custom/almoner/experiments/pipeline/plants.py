"""Sites that are too few for groups, dealt over several plants each.

Which plant a unit is at follows, by a keyed hash, from its site and its number there, which loaders give in the order
of ids; loaded data has no ids any more. The registered files are pinned, so it is the same in every run.
"""

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from almoner.experiments.public import PublicSite
from almoner.experiments.splits import select_units
from almoner.protection.groups import MIN_GROUPS
from almoner.protection.parties import MIN_SITES
from almoner.training.units import UnitData, UnitRecords

FEWEST = MIN_GROUPS * MIN_SITES
"""Sites that groups take at least."""
_KEY = b"almoner-plants-1"


def plants_of(sites: Mapping[str, PublicSite]) -> dict[str, PublicSite]:
    """Deal each site's units, for training and for tests, over as many plants as groups need.

    *Guarantee*: a unit is at one plant, with all of its records. Sites that are enough stay as they are.

    Args:
        sites: each plant declares its part of what its site declares.
    """
    if not 0 < len(sites) < FEWEST:
        return dict(sites)
    count = -(-FEWEST // len(sites))
    return {
        f"{name}-plant-{place + 1}": plant
        for name, site in sites.items()
        for place, plant in enumerate(_dealt(name, site, count))
    }


def _dealt(name: str, site: PublicSite, count: int) -> list[PublicSite]:
    """Return a site's plants."""
    train, test = (_plant_of(f"{name} {part}", getattr(site.data, part), count) for part in ("train", "test"))
    config = site.config.model_copy(update={"nominal_records": max(1, round(site.config.nominal_records / count))})
    return [
        PublicSite(
            config, UnitData(select_units(site.data.train, train == place), select_units(site.data.test, test == place))
        )
        for place in range(count)
    ]


def _plant_of(whose: str, records: UnitRecords, count: int) -> NDArray[np.int64]:
    """Return the plant of each unit, int64[u]."""
    hashes = (blake2b(f"{whose} {unit}".encode(), key=_KEY).digest() for unit in range(records.num_units))
    return np.array([int.from_bytes(found, "big") % count for found in hashes], dtype=np.int64)
