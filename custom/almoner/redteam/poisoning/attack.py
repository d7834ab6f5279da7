"""What an attack is: from what its colluding sites know, to the rows that they send.

A row is a site's mean update, `u * step / (q * N)` with N its declared size, as the robust rules see it; a step
of training goes against it. The attacker deviates only in what its sites send: `Colluders.to_integers` turns
rows into integers on the job's grid within its limit, which is all that the server takes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from almoner.training.grid import UpdateGrid
from almoner.training.units import UnitRecords

Rows = NDArray[np.float64]
Vector = NDArray[np.float64]
Knowledge = Literal["own", "all", "rule"]
"""What an attack needs to know of a round besides the public numbers: its own sites' data and updates; the
updates of all sites; these and the rule."""


@dataclass(frozen=True, slots=True, eq=False)
class Colluders:
    """The public numbers of the colluding sites.

    Args:
        num_sites: n, all sites of the job.
        sizes: float64[f], their declared sizes N_i.
        total_size: N, the declared size of all sites.
        grid: the job's grid.
        sampling_prob: q.
        learning_rate: step size.
    """

    num_sites: int
    sizes: Vector
    total_size: float
    grid: UpdateGrid
    sampling_prob: float
    learning_rate: float

    @property
    def unit(self) -> Rows:
        """What one grid step of each site is as a mean update, float64[f, 1]."""
        return (self.grid.step / (self.sampling_prob * self.sizes))[:, None]

    @property
    def overweight(self) -> float:
        """How much the others weigh in the plain sum for each unit of the colluders' weight, (N - N_f) / N_f."""
        own = float(self.sizes.sum())
        return (self.total_size - own) / own

    def to_integers(self, rows: Rows) -> NDArray[np.int64]:
        """Return what the sites can really send: the nearest integers within ±limit, int64[f, d]."""
        limit = float(self.grid.limit)
        return np.rint(np.clip(rows / self.unit, -limit, limit)).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class RoundView:
    """What the colluding sites know when they must send.

    Args:
        weights: float64[d], the model at the round's start.
        own: float64[f, d], what their own training gave (on data that the attack may have poisoned).
        honest: float64[h, d], the other sites' rows; none of them for an attack of knowledge "own". A site of a real
            federation cannot see them, and puts estimates here.
        colluders: the public numbers.
        aggregate: float64[f, d] -> float64[d], what the rule would make of the round; None unless the knowledge is
            "rule".
        rng: the attack's own randomness.
    """

    weights: Vector
    own: Rows
    honest: Rows
    colluders: Colluders
    rng: np.random.Generator
    aggregate: Callable[[Rows], Vector] | None = None


class Attack(ABC):
    """One attack in one run; it may remember earlier rounds, and is not used for a second run."""

    knowledge: ClassVar[Knowledge]

    def poison(self, data: UnitRecords) -> UnitRecords:
        """Return what a colluding site trains on in place of its own records."""
        return data

    @abstractmethod
    def craft(self, view: RoundView) -> Rows:
        """Return what the colluding sites want to send, float64[f, d]; finite."""


def repeat(row: Vector, view: RoundView) -> Rows:
    """Return the same row for each colluding site."""
    return np.tile(row, (len(view.own), 1))
