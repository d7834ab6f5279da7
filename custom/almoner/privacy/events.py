"""Events as data: put on a grid on the safe side, and equal ones counted together.

Noise is rounded down, sampling probability, ε and ρ up, all to `DIGITS` significant decimal digits, so
that a charge is never below that of the event as written, and equal mechanisms have equal events.
"""

from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from almoner.schema.receipt import DistributedGaussian, PrivacyEvent, PublicData, SampledGaussian, ZcdpRelease

DIGITS = 9
MAX_EVENT_COUNT = 10_000_000
"""The largest `count` that the schema allows in one event."""


def _round_decimal(value: float, rounding: str) -> float:
    """Round the shortest decimal that reads back as `value`; results never cross `value`."""
    return float(Context(prec=DIGITS, rounding=rounding).create_decimal(Decimal(repr(value))))


def quantise(event: PrivacyEvent) -> PrivacyEvent:
    """Return the event on the grid that charges are computed on.

    *Guarantee*: σ does not grow, q, ε and ρ do not shrink, `count` stays; relative change at most 1e-8.
    """
    if isinstance(event, PublicData):
        return event
    if isinstance(event, SampledGaussian | DistributedGaussian):
        safe = {
            "noise_multiplier": _round_decimal(event.noise_multiplier, ROUND_FLOOR),
            "sampling_prob": _round_decimal(event.sampling_prob, ROUND_CEILING),
        }
    elif isinstance(event, ZcdpRelease):
        safe = {"rho": _round_decimal(event.rho, ROUND_CEILING)}
    else:
        safe = {"epsilon": _round_decimal(event.epsilon, ROUND_CEILING)}
    return event.model_copy(update=safe)


def has_loss_distribution(event: PrivacyEvent) -> bool:
    """Say whether an event has a privacy loss distribution, or only bounds on its Rényi divergence.

    ρ-zCDP bounds the moments of a loss, not its distribution: the PLD of the continuous Gaussian does not dominate the
    discrete one's. Nor does it where discrete noise is shared.
    """
    return not isinstance(event, ZcdpRelease | DistributedGaussian)


def group_events(events: Iterable[PrivacyEvent]) -> tuple[PrivacyEvent, ...]:
    """Return the same mechanisms with equal ones merged into one event, in order of first appearance.

    *Guarantee*: the number of runs of each mechanism is unchanged. A count above what the schema allows
    in one event is spread over several.
    """
    counts: dict[PrivacyEvent, int] = {}
    for event in events:
        single = event.model_copy(update={"count": 1})
        counts[single] = counts.get(single, 0) + event.count
    grouped: list[PrivacyEvent] = []
    for single, count in counts.items():
        full, rest = divmod(count, MAX_EVENT_COUNT)
        grouped += [single.model_copy(update={"count": MAX_EVENT_COUNT})] * full
        grouped += [single.model_copy(update={"count": rest})] if rest else []
    return tuple(grouped)
