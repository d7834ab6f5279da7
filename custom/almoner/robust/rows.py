"""From the integers that sites send to the rows that rules combine, and back to the sum that sites open.

A row is a mean update, in the unit of one record's gradient: u_i · step / (q · N_i), with u_i the integers on the
job's grid, q the sampling probability and N_i the declared, public size of who sent it. Nothing that a site claims
enters. Sites divide what they open by q · N of all contributors (`Descent.apply`), so what a rule returned is taken
times that, and rounded to the grid.

*Guarantee*: each entry is one product of float64 numbers, rounded once; equal inputs give equal bits on every machine.
"""

import numpy as np
from numpy.typing import NDArray

from almoner.errors import ProtocolError
from almoner.robust.cloud import Rows

INT32_MAX = 2**31 - 1


def mean_rows(values: NDArray[np.int64], sizes: NDArray[np.float64], step: float, sampling_prob: float) -> Rows:
    """Return each sender's mean update.

    Args:
        values: int64[n, d], on the grid.
        sizes: float64[n], declared sizes, > 0.
        step: distance of two grid points.
        sampling_prob: q.

    Returns:
        float32[n, d].

    Raises:
        ProtocolError: not one positive size for each row.
    """
    if sizes.shape != values.shape[:1] or not (sizes > 0).all():
        raise ProtocolError("mean rows: not one positive size for each row: report this")
    rows = np.empty(values.shape, dtype=np.float32)
    for row, sent, size in zip(rows, values, sizes, strict=True):
        np.multiply(sent, step / (sampling_prob * float(size)), out=row, casting="unsafe", dtype=np.float64)
    return rows


def integer_total(
    vector: NDArray[np.float32], total_size: float, step: float, sampling_prob: float
) -> NDArray[np.int64]:
    """Return a mean update as the sum that sites open.

    Args:
        vector: float32[d], finite.
        total_size: declared size of all contributors, those that a rule cut too.
        step: distance of two grid points.
        sampling_prob: q.

    Returns:
        int64[d], saturated to ±(2^31 - 1).
    """
    scaled = np.multiply(vector, sampling_prob * total_size / step, dtype=np.float64)
    return np.clip(np.rint(scaled, out=scaled), -INT32_MAX, INT32_MAX).astype(np.int64)
