"""Public training data dealt anew: to sites evenly or with skewed labels, or a part held out to choose numbers on."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from almoner.errors import DataError
from almoner.experiments.public import PublicSite, pool
from almoner.training.units import UnitData, UnitRecords

_LEAST_SHARE = 0.02
"""A split that leaves a site less than this share of all units is drawn again."""
_DRAWS = 1000


def deal(sites: Mapping[str, PublicSite], alpha: float, seed: int) -> dict[str, PublicSite]:
    """Deal all training units to the same sites, label by label.

    Args:
        sites: each keeps its test records.
        alpha: each label's shares at the sites are drawn from a Dirichlet distribution with this parameter; the
            smaller, the more a site has of few labels only. Infinity: all sites have equal shares of each label.
        seed: of the draw.

    Raises:
        DataError: no draw in a thousand leaves every site a share of 2 %.
    """
    rng, together = np.random.default_rng(seed), pool(sites).data.train
    labels = _labels(together)
    for _ in range(_DRAWS):
        owner = _owners(labels, len(sites), alpha, rng)
        if np.bincount(owner, minlength=len(sites)).min() >= _LEAST_SHARE * len(labels):
            return {
                name: _with_train(site, select_units(together, owner == place))
                for place, (name, site) in enumerate(sites.items())
            }
    raise DataError(f"split: Dirichlet({alpha:g}) leaves a site next to nothing → a larger alpha, or fewer sites")


def held_out(sites: Mapping[str, PublicSite], share: float, seed: int) -> dict[str, PublicSite]:
    """Make of each site's training units two parts: what is left to train on, and in place of the test records one
    share of them, on which numbers may be chosen.
    """
    found = {}
    for name, chosen in _drawn(sites, share, seed).items():
        left = _with_train(sites[name], select_units(sites[name].data.train, ~chosen))
        test = select_units(sites[name].data.train, chosen)
        found[name] = PublicSite(left.config, UnitData(train=left.data.train, test=test))
    return found


def thin_out(sites: Mapping[str, PublicSite], share: float, seed: int) -> dict[str, PublicSite]:
    """Keep one share of each site's training units, and all of its test records: for a quick look."""
    return {
        name: _with_train(sites[name], select_units(sites[name].data.train, chosen))
        for name, chosen in _drawn(sites, share, seed).items()
    }


def _drawn(sites: Mapping[str, PublicSite], share: float, seed: int) -> dict[str, NDArray[np.bool_]]:
    """Draw a share of each site's training units, bool[u]."""
    return {
        name: np.random.default_rng([seed, place]).random(site.data.train.num_units) < share
        for place, (name, site) in enumerate(sites.items())
    }


def select_units(records: UnitRecords, kept: NDArray[np.bool_]) -> UnitRecords:
    """Return the records of some units, numbered anew.

    Args:
        kept: bool[u].
    """
    rows = np.flatnonzero(kept[records.unit])
    return UnitRecords(records.features[rows], records.targets[rows], (np.cumsum(kept) - 1)[records.unit[rows]])


def _with_train(site: PublicSite, train: UnitRecords) -> PublicSite:
    """Return a site with other training records, whose number of units it declares."""
    config = site.config.model_copy(update={"nominal_records": max(1, train.num_units)})
    return PublicSite(config, UnitData(train=train, test=site.data.test))


def _labels(records: UnitRecords) -> NDArray[np.int64]:
    """Return the label of each unit's first record, int64[u], labels numbered from 0."""
    _, first = np.unique(records.unit, return_index=True)
    _, labels = np.unique(records.targets.numpy()[first], return_inverse=True)
    return labels.astype(np.int64)


def _owners(labels: NDArray[np.int64], num_sites: int, alpha: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the site of each unit, int64[u]."""
    owner = np.empty(len(labels), np.int64)
    for label in range(labels.max() + 1):
        units = rng.permutation(np.flatnonzero(labels == label))
        even = np.full(num_sites, 1 / num_sites)
        shares = even if math.isinf(alpha) else rng.dirichlet(np.full(num_sites, alpha))
        cuts = np.rint(np.cumsum(shares)[:-1] * len(units)).astype(np.int64)
        for site, part in enumerate(np.split(units, cuts)):
            owner[part] = site
    return owner
