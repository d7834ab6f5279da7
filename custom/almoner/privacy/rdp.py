"""Rényi accountant: what one event costs at one integer order, under add-or-remove-one.

Charges and filters use exactly one order for life. The ε over several orders (`rdp_epsilon`) is for
mechanisms that are fixed in advance, never for a filter.
"""

import math
from collections.abc import Iterable
from functools import lru_cache

from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant

from almoner.errors import AlmonerError
from almoner.privacy.events import quantise
from almoner.schema.receipt import DistributedGaussian, PrivacyEvent, PublicData, SampledGaussian, ZcdpRelease

NO_NOISE = 0.01
"""A noise multiplier below this is charged as no noise at all (its divergence is above 1000 at every order)."""

ORDERS = (*range(2, 33), 40, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
"""The orders that `rdp_epsilon` chooses among. Integers only: the library drops some fractional ones."""

ZCDP_ORDERS = tuple(1 + math.exp(i / 25) for i in range(-100, 326))
"""The orders for ρ-zCDP alone, whose divergence is ρα at every real order."""


@lru_cache(maxsize=1024)
def _log_binomials(order: int) -> tuple[float, ...]:
    """Return ln C(order, i) for i = 0..order."""
    return tuple(math.log(math.comb(order, i)) for i in range(order + 1))


def _log_expm1(x: float) -> float:
    """Return ln(e^x - 1) for x > 0."""
    return math.log(math.expm1(x)) if x < 1 else x + math.log1p(-math.exp(-x))


def _series(noise_multiplier: float, sampling_prob: float, order: int) -> float:
    """Return ln A(α) / (α - 1) from the terms of A(α) - 1, all positive, so that small charges keep their digits."""
    log_q, log_1mq, binomials = math.log(sampling_prob), math.log1p(-sampling_prob), _log_binomials(order)
    logs = [
        binomials[i] + i * log_q + (order - i) * log_1mq + _log_expm1((i * i - i) / (2 * noise_multiplier**2))
        for i in range(2, order + 1)
    ]
    peak = max(logs)
    log_sum = peak + math.log(math.fsum(math.exp(log - peak) for log in logs))
    return (math.log1p(math.exp(log_sum)) if log_sum < 0 else log_sum + math.log1p(math.exp(-log_sum))) / (order - 1)


@lru_cache(maxsize=65536)
def _gaussian_rdp(noise_multiplier: float, sampling_prob: float, order: int) -> float:
    """Return the divergence of one Poisson-sampled Gaussian step, never below dp_accounting's figure."""
    if noise_multiplier < NO_NOISE:
        return math.inf
    if sampling_prob == 1:
        return order / (2 * noise_multiplier**2)
    event = PoissonSampledDpEvent(sampling_prob, GaussianDpEvent(noise_multiplier))
    library = float(RdpAccountant(orders=[order]).compose(event).rdp[0])
    return max(library, _series(noise_multiplier, sampling_prob, order))


@lru_cache(maxsize=65536)
def _pure_rdp(epsilon: float, order: int) -> float:
    """Return the divergence of randomised response at ε: ln(cosh((2α-1)ε/2) / cosh(ε/2)) / (α-1)."""
    if order * epsilon < 1:
        product = math.sinh(order * epsilon / 2) * math.sinh((order - 1) * epsilon / 2)
        return math.log1p(2 * product / math.cosh(epsilon / 2)) / (order - 1)
    return epsilon + (math.log1p(math.exp(-(2 * order - 1) * epsilon)) - math.log1p(math.exp(-epsilon))) / (order - 1)


def rdp(event: PrivacyEvent, order: int) -> float:
    """Bound the Rényi divergence of one event, its count included.

    *Guarantee*: at least the divergence at `order` between the outputs on any two data sets that differ in
    one unit, in either direction; infinite where the event has no noise to speak of. Public data is no data about a
    protected unit, and has none.

    Args:
        event: what is released; put on the grid of `quantise` first.
        order: α, an integer of at least 2.

    Raises:
        AlmonerError: when the order is not such an integer.

    Reference: Mironov, Talwar, Zhang, arXiv:1908.10530, section 3.3 (sampled Gaussian, integer orders). A
        pure ε-DP release costs most when it is randomised response: Mironov, arXiv:1702.07476, Proposition 6.
        ρ-zCDP: Bun, Steinke, arXiv:1605.02065, Definition 1.1.
    """
    if type(order) is not int or order < 2:
        raise AlmonerError(f"Rényi order {order!r} is not an integer of at least 2 → use the account's order")
    event = quantise(event)
    if isinstance(event, SampledGaussian | DistributedGaussian):
        return event.count * _gaussian_rdp(event.noise_multiplier, event.sampling_prob, order)
    if isinstance(event, ZcdpRelease):
        return event.count * event.rho * order
    if isinstance(event, PublicData):
        return 0.0
    return event.count * _pure_rdp(event.epsilon, order)


def total_rdp(events: Iterable[PrivacyEvent], order: int) -> float:
    """Add up the divergences of several events at one order (composition, also when chosen adaptively).

    Reference: Feldman, Zrnic, arXiv:2008.11193.
    """
    return math.fsum(rdp(event, order) for event in events)


def conversion_loss(order: float, delta: float) -> float:
    """Return what ε is above a Rényi divergence: ln((α-1)/α) - (ln δ + ln α)/(α-1).

    Reference: Canonne, Kamath, Steinke, arXiv:2004.00010, Proposition 12.
    """
    return math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)


def rdp_epsilon(events: Iterable[PrivacyEvent], delta: float) -> float:
    """Bound ε at δ by the best of `ORDERS` (`ZCDP_ORDERS` where all is ρ-zCDP), for events fixed in advance.

    *Guarantee*: the events together are (ε, δ)-DP under add-or-remove-one; 0 for no events.
    """
    fixed = tuple(event for event in events if not isinstance(event, PublicData))
    if not fixed:
        return 0.0
    if all(isinstance(event, ZcdpRelease) for event in fixed):
        rho = total_rdp(fixed, 2) / 2
        return max(0.0, min(rho * order + conversion_loss(order, delta) for order in ZCDP_ORDERS))
    return max(0.0, min(total_rdp(fixed, order) + conversion_loss(order, delta) for order in ORDERS))
