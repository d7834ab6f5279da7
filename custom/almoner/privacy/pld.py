"""Privacy-loss-distribution accountant: the ε of one job whose mechanisms are fixed in advance.

It calibrates noise and states job ε. It never decides whether a job fits an account: composing PLDs of
mechanisms that were chosen adaptively is not proven (arXiv:2602.06756).
"""

import math
from collections.abc import Iterable
from functools import lru_cache

from dp_accounting.pld import privacy_loss_distribution as library

from almoner.errors import AlmonerError, DocumentError
from almoner.privacy.events import group_events, has_loss_distribution, quantise
from almoner.privacy.rdp import rdp_epsilon
from almoner.schema.receipt import PrivacyEvent, PublicData, PureRelease, SampledGaussian

COARSE_GRID = 1e-3
FINE_GRID = 1e-4
MIN_DELTA = 1e-10
"""Below this δ the rounding of a long convolution could matter (measured: below 1e-12 of mass)."""
MAX_RUNS = 200_000
MAX_EPSILON = 120.0
"""Above these the distributions would take gigabytes and minutes; the Rényi bound is returned instead."""


def _distribution(event: PrivacyEvent, grid: float) -> library.PrivacyLossDistribution:
    """Return the pessimistic PLD of all runs of one event.

    A pure release has the PLD of randomised response, which integer Laplace of sensitivity 1 has too.
    """
    if isinstance(event, PureRelease):
        one_run = library.from_discrete_laplace_mechanism(event.epsilon, value_discretization_interval=grid)
        return one_run.self_compose(event.count)
    if not isinstance(event, SampledGaussian):
        raise AlmonerError(f"an event of kind {event.kind} has no privacy loss distribution → use its Rényi bound")
    if event.sampling_prob == 1:  # `count` Gaussians are one Gaussian of σ/√count, exactly
        sigma = event.noise_multiplier / math.sqrt(event.count)
        return library.from_gaussian_mechanism(sigma, value_discretization_interval=grid)
    one_run = library.from_gaussian_mechanism(
        event.noise_multiplier, value_discretization_interval=grid, sampling_prob=event.sampling_prob
    )
    return one_run.self_compose(event.count)


def _compose(events: tuple[PrivacyEvent, ...], grid: float) -> library.PrivacyLossDistribution:
    """Return the pessimistic PLD of all events on one grid of privacy losses."""
    total = _distribution(events[0], grid)
    for event in events[1:]:
        total = total.compose(_distribution(event, grid))
    return total


def _epsilon_on_grid(events: tuple[PrivacyEvent, ...], delta: float, grid: float) -> float:
    """Return the pessimistic ε of all events on one grid of privacy losses."""
    return float(_compose(events, grid).get_epsilon_for_delta(delta))


def _has_pld(events: tuple[PrivacyEvent, ...], renyi: float) -> bool:
    """Say whether the events have a PLD that stays within memory and seconds."""
    if not all(map(has_loss_distribution, events)):
        return False
    runs = sum(e.count for e in events if not (isinstance(e, SampledGaussian) and e.sampling_prob == 1))
    return renyi <= MAX_EPSILON and runs <= MAX_RUNS


def _fixed(events: Iterable[PrivacyEvent]) -> tuple[PrivacyEvent, ...]:
    """Return what is protected of the events, on the safe grid, equal ones merged, in one order whatever theirs was."""
    protected = (quantise(event) for event in events if not isinstance(event, PublicData))
    return tuple(sorted(group_events(protected), key=repr))


def fixed_distribution(events: Iterable[PrivacyEvent]) -> library.PrivacyLossDistribution | None:
    """Return the pessimistic PLD of events fixed in advance, None when there are none, too many, or one without one."""
    fixed = _fixed(events)
    has_pld = fixed and _has_pld(fixed, rdp_epsilon(fixed, MIN_DELTA))
    return _compose(fixed, COARSE_GRID) if has_pld else None


@lru_cache(maxsize=4096)
def _pld_epsilon(events: tuple[PrivacyEvent, ...], delta: float) -> float:
    renyi = rdp_epsilon(events, delta)
    if renyi == 0 or not _has_pld(events, renyi):
        return renyi
    epsilon = min(renyi, _epsilon_on_grid(events, delta, COARSE_GRID))
    if 0 < epsilon < 1:
        epsilon = min(epsilon, _epsilon_on_grid(events, delta, FINE_GRID))
    return epsilon


def pld_epsilon(events: Iterable[PrivacyEvent], delta: float) -> float:
    """Bound ε at δ for events that are fixed in advance.

    Losses are rounded up onto a grid of 1e-3, below ε=1 of 1e-4. Both the PLD and the Rényi bound are
    valid; the smaller is returned, and the Rényi bound alone where a PLD would not be affordable, or where an event
    is ρ-zCDP or shared noise, which have none.

    *Guarantee*: the events together are (ε, δ)-DP under add-or-remove-one; 0 for no events.

    Args:
        events: all that is released; grouped and put on the safe grid of `quantise` first.
        delta: δ of the claim, from 1e-10 to below 1.

    Raises:
        DocumentError: when δ is outside that range.

    Reference: Doroshenko et al., arXiv:2207.04380 (connect the dots); Koskela et al., arXiv:1906.03049.
    """
    if not MIN_DELTA <= delta < 1:
        raise DocumentError(f"delta: {delta:g} cannot be accounted by PLD → use a value from {MIN_DELTA:g} to below 1")
    fixed = _fixed(events)
    return _pld_epsilon(fixed, delta) if fixed else 0.0
