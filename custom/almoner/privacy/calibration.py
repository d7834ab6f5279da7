"""Finds the smallest noise that keeps a training run within its target ε, deterministically."""

import math
from collections.abc import Callable
from functools import lru_cache

from almoner.errors import DocumentError
from almoner.privacy.events import MAX_EVENT_COUNT
from almoner.privacy.pld import MIN_DELTA, pld_epsilon
from almoner.privacy.rdp import rdp_epsilon
from almoner.schema.receipt import DistributedGaussian, SampledGaussian

TICKS = 1000
"""Noise multipliers are multiples of 1/TICKS."""
MIN_TICKS = 300
"""The smallest noise multiplier is 0.3: below it a sampled unit is all but exposed, whatever ε says."""
MAX_TICKS = 1_000_000 * TICKS
MIN_TARGET_EPSILON = 0.01


def training_event(
    ticks: int, sampling_prob: float, num_steps: int, assumption: str = ""
) -> SampledGaussian | DistributedGaussian:
    """Return the event of `num_steps` DP-SGD steps with noise multiplier ticks / 1000.

    Args:
        assumption: what distributed noise rests on; "" where each site's noise is enough by itself.
    """
    sigma = ticks / TICKS
    if not assumption:
        return SampledGaussian(
            kind="sampled_gaussian", noise_multiplier=sigma, sampling_prob=sampling_prob, count=num_steps
        )
    return DistributedGaussian(
        kind="distributed_gaussian",
        noise_multiplier=sigma,
        sampling_prob=sampling_prob,
        count=num_steps,
        assumption=assumption,
    )


def smallest_ticks(meets: Callable[[int], bool], slack: float = 0.0) -> int | None:
    """Return the smallest tick from MIN_TICKS to MAX_TICKS that meets a monotone condition, or None.

    With `slack`, the tick returned meets it too and may be larger than the smallest by that share.
    """
    low, high = MIN_TICKS - 1, MIN_TICKS
    while not meets(high):
        if high == MAX_TICKS:
            return None
        low, high = high, min(2 * high, MAX_TICKS)
    while high - low > max(1, slack * low):
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    return high


def _interpolate(low: int, low_epsilon: float, high: int, high_epsilon: float, target: float) -> int:
    """Return the tick strictly between two others where ln ε, linear in ln σ, would meet the target."""
    if not 0 < high_epsilon < low_epsilon < math.inf:
        return (low + high) // 2
    share = math.log(low_epsilon / target) / math.log(low_epsilon / high_epsilon)
    guess = math.ceil(low * math.exp(share * math.log(high / low)))
    return min(max(guess, low + 1), high - 1)


def _refine(epsilon_of: Callable[[int], float], high: int, target: float) -> int:
    """Return the smallest tick that meets the target, given one that does; bisects at every fourth try."""
    low, low_epsilon, high_epsilon = MIN_TICKS - 1, math.inf, epsilon_of(high)
    while low < MIN_TICKS and high > MIN_TICKS:
        probe = max(MIN_TICKS, int(0.8 * high))
        epsilon = epsilon_of(probe)
        if epsilon <= target:
            high, high_epsilon = probe, epsilon
        else:
            low, low_epsilon = probe, epsilon
    tries = 0
    while high - low > 1:
        tries += 1
        probe = (low + high) // 2 if tries % 4 == 0 else _interpolate(low, low_epsilon, high, high_epsilon, target)
        epsilon = epsilon_of(probe)
        if epsilon <= target:
            high, high_epsilon = probe, epsilon
        else:
            low, low_epsilon = probe, epsilon
    return high


def _check(target_epsilon: float, target_delta: float, sampling_prob: float, num_steps: int) -> None:
    """Refuse arguments that cannot be calibrated."""
    if not MIN_TARGET_EPSILON <= target_epsilon < math.inf:
        raise DocumentError(
            f"privacy.target_epsilon: {target_epsilon:g} cannot be calibrated → ask {MIN_TARGET_EPSILON} or more"
        )
    if not (MIN_DELTA <= target_delta < 1 and 0 < sampling_prob <= 1 and 0 < num_steps <= MAX_EVENT_COUNT):
        raise DocumentError(
            f"privacy: δ={target_delta:g}, q={sampling_prob:g}, {num_steps} steps cannot be calibrated"
            f" → δ from {MIN_DELTA:g} to below 1, q in (0, 1], up to {MAX_EVENT_COUNT} steps"
        )


@lru_cache(maxsize=1024)
def calibrate_noise(
    target_epsilon: float, target_delta: float, sampling_prob: float, num_steps: int, assumption: str = ""
) -> float:
    """Return the smallest noise multiplier, a multiple of 0.001 from 0.3 up, whose run is within its target.

    A Rényi bound brackets the answer; a few PLD evaluations find it. Jobs of more than 200 000 steps are
    calibrated by the Rényi bound alone, and so is distributed noise (see `pld_epsilon`).

    *Guarantee*: `num_steps` Poisson-sampled Gaussian steps with the returned noise are (target_epsilon,
    target_delta)-DP under add-or-remove-one. Without steps nothing is released and the answer is 0.0.

    Args:
        target_epsilon: ε of the whole run, from 0.01.
        target_delta: δ of the whole run, from 1e-10 to below 1.
        sampling_prob: q, in (0, 1].
        num_steps: noisy steps of the whole run.
        assumption: see `training_event`.

    Raises:
        DocumentError: when an argument is out of range, or no noise multiplier up to a million is enough.
    """
    if num_steps == 0:
        return 0.0
    _check(target_epsilon, target_delta, sampling_prob, num_steps)

    def renyi_meets(ticks: int) -> bool:
        return (
            rdp_epsilon((training_event(ticks, sampling_prob, num_steps, assumption),), target_delta) <= target_epsilon
        )

    def epsilon_of(ticks: int) -> float:
        return pld_epsilon((training_event(ticks, sampling_prob, num_steps, assumption),), target_delta)

    bracket = smallest_ticks(renyi_meets, slack=0.03)
    if bracket is None:
        raise DocumentError(
            f"privacy.target_epsilon: {target_epsilon:g} at δ={target_delta:g} cannot be met over {num_steps} steps"
            " → raise target_epsilon, or train fewer steps"
        )
    return _refine(epsilon_of, bracket, target_epsilon) / TICKS
