"""What a job releases: its steps, the events of each, and how far its target ε could go."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from almoner.errors import AlmonerError, DocumentError
from almoner.privacy.budget import charge_of
from almoner.privacy.calibration import MAX_TICKS, MIN_TICKS, TICKS, calibrate_noise, smallest_ticks, training_event
from almoner.privacy.events import group_events
from almoner.privacy.pld import pld_epsilon
from almoner.schema.job import JobSpec, TargetPrivacy
from almoner.schema.receipt import DistributedGaussian, PrivacyEvent, PublicData, PureRelease, SampledGaussian

MAX_TARGET_HUNDREDTHS = 100_00
"""The largest target ε that the schema allows, 100, in hundredths."""


@dataclass(frozen=True)
class PlannedStep:
    """One unit of work that touches data: committed once, as a whole, before it starts.

    Args:
        key: "train-0001" and so on for rounds, the kind of a release otherwise; distinct within a job.
        events: all that the step releases.
    """

    key: str
    events: tuple[PrivacyEvent, ...]


@dataclass(frozen=True)
class JobPlan:
    """The worst case of a job: every step that it can take, in order.

    Args:
        noise_multiplier: σ of training over its sensitivity; 0.0 when the job does not train, or without noise.
        steps: in the order in which they may be committed.
    """

    noise_multiplier: float
    steps: tuple[PlannedStep, ...]

    @classmethod
    def of_steps(cls, steps: tuple[PlannedStep, ...]) -> "JobPlan":
        """Return the plan that reserved steps are, with the noise that their training events state."""
        noised = SampledGaussian | DistributedGaussian
        sigmas = [event.noise_multiplier for step in steps for event in step.events if isinstance(event, noised)]
        return cls(sigmas[0] if sigmas else 0.0, steps)

    @property
    def all_events(self) -> tuple[PrivacyEvent, ...]:
        """The events of all steps, equal mechanisms merged."""
        return group_events(event for step in self.steps for event in step.events)

    def charge(self, order: int) -> float:
        """Return what the whole job is charged at an order, as the ledger adds it up."""
        return charge_of_steps(self.steps, order)


def charge_of_steps(steps: Iterable[PlannedStep], order: int) -> float:
    """Return the sum of the steps' charges, each rounded up alone, so that it splits exactly into them."""
    return math.fsum(charge_of(step.events, order) for step in steps)


def _release_steps(spec: JobSpec) -> tuple[PlannedStep, ...]:
    """Return one step for each release."""
    return tuple(
        PlannedStep(release.kind, (PureRelease(kind="pure_release", epsilon=release.epsilon, count=1),))
        for release in spec.releases
    )


@lru_cache(maxsize=64)
def job_events(spec: JobSpec, assumption: str = "") -> JobPlan:
    """Plan a job: calibrate its noise, then list one step a round and one a release.

    *Guarantee*: the training steps together are (target_epsilon, target_delta)-DP for one unit under
    add-or-remove-one; the releases come on top. Without privacy nothing is guaranteed, and nothing charged.

    Args:
        assumption: what distributed noise rests on, see `assumption_of`; "" for other mechanisms.

    Raises:
        DocumentError: when the noise cannot be calibrated to the target.
        AlmonerError: the noise is distributed, and nothing is said of its sites.
    """
    if (spec.privacy.mechanism == "distributed_dp") != bool(assumption):
        raise AlmonerError(f"job {spec.name}: how its noise is shared depends on its sites → use plan_of")
    privacy, steps = spec.privacy, spec.training.local_steps
    if not isinstance(privacy, TargetPrivacy):
        return JobPlan(0.0, _rounds(spec, PublicData(kind="public_data", count=steps)))
    target = privacy.target_epsilon, privacy.target_delta
    sigma = calibrate_noise(*target, privacy.sampling_prob, spec.num_steps, assumption)
    if not spec.num_steps:
        return JobPlan(sigma, _release_steps(spec))
    event = training_event(round(sigma * TICKS), privacy.sampling_prob, steps, assumption)
    return JobPlan(sigma, _rounds(spec, event) + _release_steps(spec))


def _rounds(spec: JobSpec, event: PrivacyEvent) -> tuple[PlannedStep, ...]:
    """Return one step for each round."""
    return tuple(PlannedStep(f"train-{number:04d}", (event,)) for number in range(1, spec.rounds + 1))


def epsilon_after(spec: JobSpec, rounds: int, assumption: str = "") -> float:
    """Return the ε, at the job's δ, of its first rounds: what training cost a site if it ends there.

    Args:
        spec: the job, whose noise is calibrated to all of its rounds.
        rounds: how many were done.
        assumption: as `job_events`.
    """
    events = (event for step in job_events(spec, assumption).steps[:rounds] for event in step.events)
    return pld_epsilon(events, spec.target_delta)


def epsilon_of_noise(spec: JobSpec, noise_multiplier: float, assumption: str = "") -> float:
    """Return the smallest target ε, in hundredths, to which a job with this noise can be calibrated.

    *Guarantee*: the job calibrated to it trains with at most this noise multiplier, and its training is
    (returned ε, target_delta)-DP for one unit under add-or-remove-one.

    Args:
        spec: the job; its own target ε does not matter.
        noise_multiplier: σ over the sensitivity, from 0.3; thousandths count, the rest is dropped.

        assumption: as `job_events`.

    Raises:
        DocumentError: the job does not train, or without noise, or the noise is out of range.
    """
    ticks = math.floor(noise_multiplier * TICKS + 1e-9) if math.isfinite(noise_multiplier) else 0
    noised = spec.num_steps > 0 and isinstance(spec.privacy, TargetPrivacy)
    if not noised or not MIN_TICKS <= ticks <= MAX_TICKS:
        raise DocumentError(
            f"noise multiplier {noise_multiplier:g}: not for this job → from {MIN_TICKS / TICKS:g} up, with rounds"
        )
    event = training_event(ticks, spec.privacy.sampling_prob, spec.num_steps, assumption)
    return max(1, math.ceil(pld_epsilon((event,), spec.target_delta) * 100 - 1e-9)) / 100


def largest_target_epsilon(spec: JobSpec, remaining_rdp: float, order: int, assumption: str = "") -> float:
    """Return the largest target ε with which a job of this shape fits into what is left of an account.

    The shape is everything but `target_epsilon`: rounds, steps, sampling, δ and releases. The search is
    over the noise, where a charge is cheap, and ends with one PLD and one calibration as the proof.

    *Guarantee*: calibrated to the returned ε, the training charge at `order` and the releases' charge
    together are at most `remaining_rdp`.

    Args:
        spec: the job; its own target ε does not matter.
        remaining_rdp: what is left of the account's budget, in RDP at its order.
        order: the account's α.
        assumption: as `job_events`.

    Returns:
        A multiple of 0.01 up to 100; 0.0 when none fits, or when the job does not train, or without noise.
    """
    left, privacy = remaining_rdp - charge_of_steps(_release_steps(spec), order), spec.privacy
    if spec.num_steps == 0 or not left > 0 or not isinstance(privacy, TargetPrivacy):
        return 0.0
    q, delta = privacy.sampling_prob, privacy.target_delta

    def fits(ticks: int) -> bool:
        event = training_event(ticks, q, spec.training.local_steps, assumption)
        return spec.rounds * charge_of((event,), order) <= left

    ticks = smallest_ticks(fits)
    if ticks is None:
        return 0.0
    if ticks == MIN_TICKS:  # calibration never returns less, so that every target fits
        return MAX_TARGET_HUNDREDTHS / 100
    too_little = pld_epsilon((training_event(ticks - 1, q, spec.num_steps, assumption),), delta)
    hundredths = min(math.ceil(too_little * 100) - 1, MAX_TARGET_HUNDREDTHS)
    while hundredths > 0:
        sigma = calibrate_noise(hundredths / 100, delta, q, spec.num_steps, assumption)
        if fits(round(sigma * TICKS)):
            return hundredths / 100
        hundredths -= 1
    return 0.0
