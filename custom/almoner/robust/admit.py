"""Which rows a rule looks at: one that is not finite, or absurdly large, has no part in any result.

A pass over the rows finds them. A rule that begins with the rows' norms need not wait for it: it takes them all, and
`vet` stops it when a norm is not small, which all norms of an honest round are.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from almoner.errors import ProtocolError
from almoner.robust.cloud import Cloud, Matrix, Rows

LARGEST = 2.0**50
"""Entries beyond ± this are dropped: sums of squares could overflow float32, and no honest update comes near."""
_BLOCK = 2**15


class NotVetted(Exception):
    """Rows that nobody has looked at have norms that are not small: they have to be looked at."""


def check_input(rows: Rows, sizes: Matrix) -> None:
    """Refuse arrays of another form.

    Raises:
        ProtocolError: the rows are no float32[n, d] with d ≥ 1, or the sizes no n positive numbers.
    """
    if rows.dtype != np.float32 or rows.ndim != 2 or not rows.size:
        raise ProtocolError("aggregate: the rows are no float32[n, d]: flatten each site's update")
    if np.shape(sizes) != (len(rows),) or not np.all(np.isfinite(sizes)) or not np.all(sizes > 0):
        raise ProtocolError("aggregate: one positive size a row is needed: take them from site_configs")


def admit(rows: Rows, sizes: Matrix, num_byzantine: int) -> Cloud:
    """Drop the rows that cannot be honest.

    *Guarantee*: what is left is finite and within ±2^50.

    Args:
        rows: float32[n, d].
        sizes: float64[n], declared.
        num_byzantine: f; the dropped ones count against it.

    Returns:
        The cloud of the others.

    Raises:
        ProtocolError: more than f rows are to be dropped.
    """
    honest = np.array([_is_short(row) or is_sane(row) for row in rows])
    if (dropped := int(len(rows) - honest.sum())) > num_byzantine:
        raise ProtocolError(
            f"{dropped} of {len(rows)} rows are not finite or beyond 2^50, and num_byzantine_sites is "
            f"{num_byzantine} → look at who sent them"
        )
    everyone = take_all(rows, sizes, vetted=True)
    if not dropped:
        return everyone
    places = np.flatnonzero(honest)
    return replace(
        everyone,
        places=places,
        owners=np.arange(len(places)),
        sizes=everyone.sizes[places],
        shortened=everyone.shortened[places],
    )


def take_all(rows: Rows, sizes: Matrix, *, vetted: bool) -> Cloud:
    """Return the cloud of all rows."""
    return Cloud(
        received=rows,
        places=None,
        mixing=None,
        owners=np.arange(len(rows)),
        sizes=np.asarray(sizes, dtype=np.float64),
        shortened=np.zeros(len(rows), dtype=bool),
        vetted=vetted,
    )


def vet(cloud: Cloud, squared_norms: Matrix) -> None:
    """Let a cloud pass that was looked at, or whose norms show that there is no need to.

    Raises:
        NotVetted: neither.
    """
    if not cloud.vetted and not np.all(squared_norms < LARGEST):
        raise NotVetted


def _is_short(row: npt.NDArray[np.float32]) -> bool:
    """Tell, by the fastest pass there is, whether a row is surely sane: most are."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(row @ row < LARGEST)


def is_sane(row: npt.NDArray[np.float32]) -> bool:
    """Tell whether all entries are finite and within ±2^50; NaN compares as False."""
    parts = (row[start : start + _BLOCK] for start in range(0, row.size, _BLOCK))
    return all(part.max() <= LARGEST and part.min() >= -LARGEST for part in parts)
