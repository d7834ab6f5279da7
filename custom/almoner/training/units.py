"""Records grouped by privacy unit: what a workload loads and a trainer takes, and how many of a unit are used."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from almoner.errors import DataError

_CHOICE_KEY = b"almoner/records of a unit/1"


@dataclass(frozen=True, slots=True, eq=False)
class UnitRecords:
    """Records, and which privacy unit each belongs to; a unit may have several, in any order.

    Args:
        features: Tensor[n, ...], one row a record.
        targets: Tensor[n, ...], one row a record.
        unit: int64[n], the record's unit, numbered 0 … u−1 without gaps.

    Raises:
        DataError: when lengths differ or units are not numbered without gaps (a loader's mistake; no
            value of a record can cause it).
    """

    features: Tensor
    targets: Tensor
    unit: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.targets) == len(self.unit):
            raise DataError("units: features, targets and unit index differ in length → correct the workload's loader")
        present = np.unique(self.unit)
        if not np.array_equal(present, np.arange(len(present))):
            raise DataError("units: the unit index has gaps → number units 0, 1, 2, ... in the workload's loader")

    @property
    def num_units(self) -> int:
        """How many units there are. Private: it must not leave the site."""
        return int(self.unit.max()) + 1 if len(self.unit) else 0


@dataclass(frozen=True, slots=True, eq=False)
class UnitData:
    """A site's data for one workload, split by unit.

    Args:
        train: what the trainer sees.
        test: what releases are measured on.
    """

    train: UnitRecords
    test: UnitRecords


def number_units(unit_ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of each record's unit, int64[n], in the order of their ids; equal ids are one unit.

    *Guarantee*: what it costs is as long as all ids together: no id is padded to the length of another, or cut.
    """
    numbers = {unit_id: number for number, unit_id in enumerate(sorted(set(unit_ids)))}
    return np.array([numbers[unit_id] for unit_id in unit_ids], dtype=np.int64)


def bound_records(data: UnitData, limit: int | None) -> UnitData:
    """Return a site's data with at most so many records of each unit; see `at_most`.

    Args:
        data: as a workload loaded it.
        limit: 1 or more; None for all that there are.
    """
    return data if limit is None else UnitData(train=at_most(data.train, limit), test=at_most(data.test, limit))


def at_most(records: UnitRecords, limit: int) -> UnitRecords:
    """Leave out what a unit has beyond `limit` records.

    *Guarantee*: which of a unit's records stay is a function of these records alone, not of their order, nor of any
    other unit: those stay whose contents have the smallest keyed hashes. No unit goes, and the order is kept.

    Args:
        records: a unit may have any number.
        limit: 1 or more.
    """
    if np.bincount(records.unit, minlength=1).max() <= limit:
        return records
    stays = np.ones(len(records.unit), dtype=np.bool_)
    by_unit, ends = np.argsort(records.unit, kind="stable"), np.cumsum(np.bincount(records.unit))
    for own in np.split(by_unit, ends[:-1]):
        if len(own) > limit:
            ranked = sorted(own.tolist(), key=lambda record: _rank(records, record))
            stays[ranked[limit:]] = False
    kept = torch.from_numpy(np.flatnonzero(stays))
    return UnitRecords(records.features[kept], records.targets[kept], records.unit[stays])


def _rank(records: UnitRecords, record: int) -> bytes:
    """Return the keyed hash of one record's content."""
    content = (part[record].contiguous().numpy().tobytes() for part in (records.features, records.targets))
    return hmac.digest(_CHOICE_KEY, b"".join(content), hashlib.sha256)
