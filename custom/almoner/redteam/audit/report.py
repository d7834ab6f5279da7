"""The audit of a job's trainer: what was audited, what was found, and of the broken ones too."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from scipy.stats import chi2

from almoner.redteam.audit.bounds import ceiling, one_run_epsilon, p_value
from almoner.redteam.audit.canaries import Traces, right_guesses, trace_canaries
from almoner.redteam.audit.checks import (
    CHECK_SIGNIFICANCE,
    Check,
    clipping_check,
    floor_check,
    own_sampling_check,
    replay_checks,
    sampling_check,
)
from almoner.redteam.audit.claim import AuditedRun, audited_run, verify_enough
from almoner.redteam.audit.faults import FAULTS, HONEST, Fault
from almoner.redteam.audit.tradeoff import trade_off
from almoner.schema.job import JobSpec
from almoner.training.noise import SecureRandom, UnsafeSeededRandom

FAMILY_SIGNIFICANCE = 0.05
NUM_CHECKS = 6
AUDIT_SIGNIFICANCE = FAMILY_SIGNIFICANCE - NUM_CHECKS * CHECK_SIGNIFICANCE
"""What the canaries' test may err; together with the checks it is the family's."""

LIMITS = "one code path on synthetic canaries, not the job; no check binds a site that runs other code"
"""What an audit does not say."""

RANDOMNESS = (
    "canaries train with seeded randomness; of the sites' own source, the noise of a step taken twice and the number "
    "of draws of one run are looked at, no more"
)
"""Whose randomness an audit is about."""

GUESSED_SHARE = 4
"""Of so many canaries one is guessed, the clearest; fixed before any run."""

_RUNG = 2.0**0.25
_RUNGS = range(-8, 9)
_LEAST_NOISE = 0.25


@dataclass(frozen=True, slots=True)
class Finding:
    """What canaries and checks say of one trainer.

    Args:
        fault: what is wrong with it, "honest" if nothing.
        p_values: of each run, against the claim.
        p_value: of all runs together (Fisher).
        epsilon_shown: the largest ε for which the same mechanism, with the noise of that ε, is refuted; 0 if none.
        one_run_epsilon: what the first run shows whatever the mechanism, at the claim's δ.
        right: right guesses of each run.
        checks: the cheap ones.
    """

    fault: str
    p_values: tuple[float, ...]
    p_value: float
    epsilon_shown: float
    one_run_epsilon: float
    right: tuple[int, ...]
    checks: tuple[Check, ...]

    @property
    def is_refuted(self) -> bool:
        """Whether the canaries refute the claim."""
        return self.p_value <= AUDIT_SIGNIFICANCE

    @property
    def violations(self) -> tuple[str, ...]:
        """What was found, in words; empty if nothing was."""
        found = [f"canaries: ε={self.epsilon_shown:.2f} or more, p={self.p_value:.1g}"] if self.is_refuted else []
        return (*found, *(f"{check.name} = {check.measured:.3g}" for check in self.checks if not check.passed))

    @property
    def verdict(self) -> str:
        """What may be said of it."""
        level = f"{100 * (1 - FAMILY_SIGNIFICANCE):g} %"
        return "; ".join(self.violations) if self.violations else f"no violation found at {level}"


@dataclass(frozen=True, slots=True)
class Audit:
    """An audit: what of, how large, and what it found."""

    run: AuditedRun
    num_canaries: int
    num_guesses: int
    num_runs: int
    seed: int
    findings: tuple[Finding, ...]

    @property
    def ceiling(self) -> float:
        """The largest ε that so many canaries can ever show in one run."""
        return ceiling(self.num_canaries, FAMILY_SIGNIFICANCE)


def audit_job(
    spec: JobSpec,
    num_sites: int,
    *,
    num_canaries: int = 1000,
    num_runs: int = 12,
    seed: int = 0,
    faults: Iterable[Fault] = (HONEST, *FAULTS),
) -> Audit:
    """Audit the trainer of a job, and broken ones beside it.

    Canaries train with seeded randomness, so that figures can be had again. What sites draw from is another source: a
    step taken twice and one run whose draws are counted use it.

    Args:
        spec: the job.
        num_sites: all sites of the job; what distributed noise is shared by.
        num_canaries: m, in each run.
        num_runs: independent runs.
        seed: of canaries and trainers.
        faults: the trainers.

    Raises:
        PolicyViolation: the job claims nothing, or the canaries are too few.
    """
    run = audited_run(spec, num_sites)
    verify_enough(run, num_canaries)
    guesses = num_canaries // GUESSED_SHARE
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small passes: threads cost ten times what they bring
    try:
        findings = tuple(_examine(run, fault, (num_canaries, guesses, num_runs), seed) for fault in faults)
    finally:
        torch.set_num_threads(threads)
    return Audit(run, num_canaries, guesses, num_runs, seed, findings)


def audit_json(audit: Audit) -> dict[str, object]:
    """Return an audit in types that JSON has."""
    run = audit.run
    return {
        "audited": {
            "code_path": run.code_path,
            "mechanism": run.mechanism,
            "noise_multiplier": run.noise_multiplier,
            "sampling_prob": run.sampling_prob,
            "num_steps": run.num_steps,
            "claimed_epsilon": run.epsilon,
            "delta": run.delta,
        },
        "canaries": audit.num_canaries,
        "guesses": audit.num_guesses,
        "runs": audit.num_runs,
        "seed": audit.seed,
        "ceiling_epsilon": audit.ceiling,
        "family_wise_alpha": FAMILY_SIGNIFICANCE,
        "alpha_of_canaries": AUDIT_SIGNIFICANCE,
        "alpha_of_each_check": CHECK_SIGNIFICANCE,
        "limits": LIMITS,
        "randomness": RANDOMNESS,
        "findings": [_finding_json(finding) for finding in audit.findings],
    }


def _finding_json(finding: Finding) -> dict[str, object]:
    return {
        "trainer": finding.fault,
        "p_value": finding.p_value,
        "epsilon_shown": finding.epsilon_shown,
        "one_run_epsilon": finding.one_run_epsilon,
        "right_guesses": list(finding.right),
        "checks": {check.name: {"measured": check.measured, "passed": check.passed} for check in finding.checks},
        "verdict": finding.verdict,
    }


def _examine(run: AuditedRun, fault: Fault, sizes: tuple[int, int, int], seed: int) -> Finding:
    """Run the canaries, which are seeded, and the checks against one trainer."""
    num_canaries, guesses, num_runs = sizes
    seeds = [1000 * seed + number for number in range(num_runs)]
    traces = [trace_canaries(run, fault, UnsafeSeededRandom(one), num_canaries, one) for one in seeds]
    right = tuple(right_guesses(run, trace, guesses) for trace in traces)
    p_values = _p_values(run, run.noise_multiplier, num_canaries, guesses, right)
    return Finding(
        fault=fault.name,
        p_values=p_values,
        p_value=fisher(p_values),
        epsilon_shown=_epsilon_shown(run, num_canaries, guesses, right),
        one_run_epsilon=one_run_epsilon(num_canaries, guesses, right[0], AUDIT_SIGNIFICANCE, run.delta),
        right=right,
        checks=_checks(run, fault, traces),
    )


def _checks(run: AuditedRun, fault: Fault, traces: list[Traces]) -> tuple[Check, ...]:
    return (
        *replay_checks(run, fault, SecureRandom()),
        own_sampling_check(run, fault, SecureRandom()),
        clipping_check(run, traces),
        sampling_check(run, traces),
        floor_check(run, traces),
    )


def fisher(p_values: Iterable[float]) -> float:
    """Return the p-value of several independent ones together: -2 Σ ln p against χ² with two degrees for each."""
    logs = [math.log(value) for value in p_values]
    return float(chi2.sf(-2 * math.fsum(logs), 2 * len(logs)))


def _p_value(run: AuditedRun, noise: float, num_canaries: int, guesses: int, right: tuple[int, ...]) -> float:
    """Return how likely so many right guesses are, in all runs together, if the mechanism had this noise."""
    return fisher(_p_values(run, noise, num_canaries, guesses, right))


def _p_values(
    run: AuditedRun, noise: float, num_canaries: int, guesses: int, right: tuple[int, ...]
) -> tuple[float, ...]:
    curve = trade_off((run.event_at(noise),))
    if curve is None:  # noise so low that nothing is refuted by it
        return (1.0,) * len(right)
    known = {count: p_value(curve, num_canaries, guesses, count) for count in set(right)}
    return tuple(known[count] for count in right)


def _epsilon_shown(run: AuditedRun, num_canaries: int, guesses: int, right: tuple[int, ...]) -> float:
    """Return ε at the least noise that is refuted; noises are ordered, so half of them are left at each step."""
    noises = [noise for noise in (run.noise_multiplier * _RUNG**-rung for rung in _RUNGS) if noise >= _LEAST_NOISE]
    low, high = 0, len(noises)
    while low < high:
        middle = (low + high) // 2
        if _p_value(run, noises[middle], num_canaries, guesses, right) <= AUDIT_SIGNIFICANCE:
            low = middle + 1
        else:
            high = middle
    return run.epsilon_at(noises[low - 1]) if low else 0.0
