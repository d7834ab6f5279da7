"""Cheap checks of a trainer, each against one mistake; sharper about it than the audit, blind for all others.

Each answers wrongly about an honest trainer with probability `CHECK_SIGNIFICANCE` at most. They look at what
a trainer does here, on canaries; they bind no site that sends something else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from almoner.redteam.audit.canaries import Bench, Traces
from almoner.redteam.audit.claim import AuditedRun
from almoner.redteam.audit.faults import Fault
from almoner.training.floor import least_energy
from almoner.training.noise import RandomSource

CHECK_SIGNIFICANCE = 0.002
SCALE_TOLERANCE = 0.02
_REUSE_SIGMAS = 5.0
"""Noise that is used again has correlation 1, so there is room: a fresh one is further off once in a million."""

REPLAY_UNITS = 100
REPLAY_DIMENSION = 30_000
"""Coordinates of the replayed step: σ is then known to 0.4 %, so that ±2 % is five standard errors."""


@dataclass(frozen=True, slots=True)
class Check:
    """What a check measured, and between which limits an honest trainer is.

    Args:
        name: as in reports.
        measured: the figure.
        low: the least that passes.
        high: the most that passes.
    """

    name: str
    measured: float
    low: float
    high: float

    @property
    def passed(self) -> bool:
        """Whether no violation was found."""
        return self.low <= self.measured <= self.high


def replay_checks(run: AuditedRun, fault: Fault, source: RandomSource) -> tuple[Check, Check]:
    """Take one round twice from the same weights, and look at the noise: how strong it is, and whether it is new.

    The difference of the two is noise alone, of twice the variance, and the rounding to the grid (a twelfth of a step
    squared each), which is taken off. Its correlation is about 0 unless the second noise is the first.
    """
    nobody = np.zeros(REPLAY_DIMENSION, dtype=np.bool_)
    bench = Bench(run, fault, source, nobody, REPLAY_UNITS)
    (first,), (second,) = bench.updates(1), bench.updates(1)
    rounding = (bench.grid.step / run.max_grad_norm) ** 2 / 12
    scale = math.sqrt(max(0.0, float(np.mean((first - second) ** 2)) / 2 - rounding)) / run.deviation
    spread = float(first.std() * second.std())
    correlation = float(np.mean(first * second)) / spread if spread else 1.0
    limit = _REUSE_SIGMAS / math.sqrt(REPLAY_DIMENSION)
    return (
        Check("noise scale: replayed σ over claimed σ", scale, 1 - SCALE_TOLERANCE, 1 + SCALE_TOLERANCE),
        Check("noise reuse: correlation of two replays", correlation, -limit, limit),
    )


def clipping_check(run: AuditedRun, traces: Sequence[Traces]) -> Check:
    """Say how much a record of norm 10 C moves the sum, over C, each time it is drawn: 1 at most, if it is clipped."""
    draws = sum(trace.draws for trace in traces)
    moved = sum(float(trace.scores[trace.included].sum()) for trace in traces)
    terms = sum(int(trace.included.sum()) for trace in traces) * run.rounds
    error = float(norm.isf(CHECK_SIGNIFICANCE)) * run.deviation * math.sqrt(terms) / max(1, draws)
    return Check("clipping: influence of a record 10 times too long", moved / max(1, draws), -math.inf, 1.0 + error)


def sampling_check(run: AuditedRun, traces: Sequence[Traces]) -> Check:
    """Test exactly whether units are drawn with probability q: the p-value of the number of all draws."""
    chances = sum(int(trace.included.sum()) for trace in traces) * run.num_steps
    draws = sum(trace.draws for trace in traces)
    found = float(binomtest(min(draws, chances), chances, run.sampling_prob).pvalue)
    return Check("sampling: p-value of the number of draws", found, CHECK_SIGNIFICANCE, 1.0)


def floor_check(run: AuditedRun, traces: Sequence[Traces]) -> Check:
    """Return the quietest update's energy over the least that the declared noise has: the server's check."""
    updates = np.concatenate([trace.updates for trace in traces])
    floor = least_energy(run.deviation, traces[0].step, updates.shape[1], CHECK_SIGNIFICANCE / len(updates))
    return Check(
        "noise floor: quietest update over the least", float(min(map(_energy, updates))) / floor, 1.0, math.inf
    )


def _energy(update: NDArray[np.float64]) -> float:
    return float(update @ update)
