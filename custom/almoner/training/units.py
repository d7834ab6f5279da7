"""Records grouped by privacy unit: what a workload loads and a trainer takes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from almoner.errors import DataError


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
