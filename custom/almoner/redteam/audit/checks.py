"""Cheap checks of a trainer, each against one mistake; sharper about it than the audit, blind for all others.

Each answers wrongly about an honest trainer with probability `CHECK_SIGNIFICANCE` at most. They look at what
a trainer does here, on canaries; they bind no site that sends something else.

`replay_checks` and `own_sampling_check` are for the source of randomness that sites use: how strong its noise is,
whether it is new, and how often it draws a unit. Not looked at is the rest of its law: the noise's shape, draws that
depend on each other, and whether its key is new in each process.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, binomtest, norm

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

SAMPLING_FALSE_ALARM = 1e-6
_SAMPLING_ERROR = 0.004
"""Standard error of the rate at which the sites' own source draws: a limit is then 2 % off, and 3 % more is found."""
_MOST_UNITS = 1 << 20
"""Where q is so small that more would be needed, the limits are further apart."""


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
    nobody = np.empty(0, dtype=np.int64)
    bench = Bench(run, fault, source, nobody, REPLAY_DIMENSION, REPLAY_UNITS)
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


def own_sampling_check(run: AuditedRun, fault: Fault, source: RandomSource) -> Check:
    """Train once on many units of one coordinate, and say how often they were drawn, over how often they should be.

    The limits are exact: an honest trainer is outside of them once in a million times at most, both sides together.
    """
    prob, steps = run.sampling_prob, run.num_steps
    units = min(_MOST_UNITS, math.ceil((1 - prob) / (prob * steps * _SAMPLING_ERROR**2)))
    bench = Bench(run, fault, source, np.zeros(units, dtype=np.int64), 1, units)
    list(bench.updates(run.rounds))
    low, high = binom.interval(1 - SAMPLING_FALSE_ALARM, units * steps, prob)
    expected = units * steps * prob
    name = "own sampling: draws by the sites' source over expected"
    return Check(name, bench.draws / expected, float(low) / expected, float(high) / expected)


def floor_check(run: AuditedRun, traces: Sequence[Traces]) -> Check:
    """Return the quietest update's energy over the least that the declared noise has: the server's check."""
    updates = np.concatenate([trace.updates for trace in traces])
    floor = least_energy(run.deviation, traces[0].step, updates.shape[1], CHECK_SIGNIFICANCE / len(updates))
    return Check(
        "noise floor: quietest update over the least", float(min(map(_energy, updates))) / floor, 1.0, math.inf
    )


def _energy(update: NDArray[np.float64]) -> float:
    return float(update @ update)
