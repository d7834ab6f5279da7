"""Answers a request from a site's file: read, add up, noise. The caller has charged it before."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from almoner.release.mechanisms import noised
from almoner.release.tally import exact_cells
from almoner.schema.statistics import StatisticsSpec


def run_statistics(path: Path, spec: StatisticsSpec) -> NDArray[np.int64]:
    """Return a request's noised integers at one site, int64[D], where it noises its own numbers.

    *Guarantee*: (target_epsilon, target_delta)-DP for one unit under add_or_remove_one; see `noised`. The caller
    commits the step of `statistics_plan` in the site's ledger before it calls, and calls once for each commit.

    Args:
        path: the site's data file.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    return noised(spec, exact_cells(path, spec))
