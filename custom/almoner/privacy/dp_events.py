"""Events in the words of dp_accounting, as class-tagged JSON, so that a third party can compose them anew.

    {"class": "SelfComposedDpEvent", "count": 20, "event": {"class": "PoissonSampledDpEvent", ...}}

`attr.asdict` drops the names of classes, so the tags are our own. Only the classes of `_FIELDS` are written
or read. A pure ε release becomes integer Laplace of parameter ε and sensitivity 1: both are dominated by
randomised response at ε, exactly. A ρ-zCDP release becomes the Gaussian of noise multiplier 1/√(2ρ), whose Rényi
divergence ρα bounds it at every order; only its Rényi ε counts, not its PLD. So it is with shared noise, at integer
orders. Steps on public data are no operation: they protect nothing, and are charged nothing.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

from dp_accounting import dp_event
from dp_accounting.dp_event import DpEvent

from almoner.errors import DocumentError
from almoner.privacy.events import group_events, quantise
from almoner.schema.receipt import DistributedGaussian, PrivacyEvent, PublicData, SampledGaussian, ZcdpRelease

MAX_DEPTH = 4
"""ComposedDpEvent of SelfComposedDpEvent of PoissonSampledDpEvent of GaussianDpEvent."""
_MAX_COUNT = 10**12


def _number(value: object, where: str) -> float:
    """Return a finite, positive number."""
    if type(value) not in (int, float) or not 0 < float(str(value)) < math.inf:
        raise DocumentError(f"{where}: {value!r} is not a finite number above 0 → such an event has no finite cost")
    return float(str(value))


def _probability(value: object, where: str) -> float:
    """Return a number in (0, 1]."""
    if not _number(value, where) <= 1:
        raise DocumentError(f"{where}: {value!r} is not in (0, 1] → give the probability of being sampled")
    return _number(value, where)


def _count(value: object, where: str) -> int:
    """Return a count of at least 1."""
    if type(value) is not int or not 1 <= value <= _MAX_COUNT:
        raise DocumentError(f"{where}: {value!r} is not a count from 1 to {_MAX_COUNT} → leave out what never ran")
    return value


def _one(value: object, where: str) -> int:
    """Return the one sensitivity that the accountants here know."""
    if type(value) is not int or value != 1:
        raise DocumentError(f"{where}: {value!r} is not 1 → state the noise for sensitivity 1")
    return value


_FIELDS: dict[str, dict[str, Callable[[object, str], Any]]] = {
    "GaussianDpEvent": {"noise_multiplier": _number},
    "DiscreteLaplaceDpEvent": {"noise_parameter": _number, "sensitivity": _one},
    "PoissonSampledDpEvent": {"sampling_probability": _probability},
    "SelfComposedDpEvent": {"count": _count},
    "ComposedDpEvent": {},
    "NoOpDpEvent": {},
}
"""Every class that is let through, and the check of each of its plain fields."""
_INNER = {"PoissonSampledDpEvent": "event", "SelfComposedDpEvent": "event", "ComposedDpEvent": "events"}
"""The field that holds further events."""


def to_dp_event(event: PrivacyEvent) -> DpEvent:
    """Return one event, on the grid that charges are computed on, in the words of dp_accounting."""
    event = quantise(event)
    if isinstance(event, PublicData):
        return dp_event.NoOpDpEvent()
    if isinstance(event, SampledGaussian | DistributedGaussian):
        one: DpEvent = dp_event.GaussianDpEvent(event.noise_multiplier)
        if event.sampling_prob < 1:
            one = dp_event.PoissonSampledDpEvent(event.sampling_prob, one)
    elif isinstance(event, ZcdpRelease):
        one = dp_event.GaussianDpEvent(1 / math.sqrt(2 * event.rho))
    else:
        one = dp_event.DiscreteLaplaceDpEvent(event.epsilon, 1)
    return dp_event.SelfComposedDpEvent(one, event.count)


def composed(events: Iterable[PrivacyEvent]) -> DpEvent:
    """Return all events as one, equal mechanisms counted together."""
    return dp_event.ComposedDpEvent([to_dp_event(event) for event in group_events(events)])


def dump(event: DpEvent) -> dict[str, Any]:
    """Return an event as class-tagged plain values; `canonical_json` of them is its one byte string.

    Raises:
        DocumentError: when a class is not on the list, or a value has no finite cost.
    """
    return _checked(_untyped(event), "event", MAX_DEPTH)


def load(value: object) -> DpEvent:
    """Return the event that class-tagged values describe.

    Raises:
        DocumentError: when a class or field is not on the list, is missing, or a value has no finite cost.
    """
    return _built(_checked(value, "event", MAX_DEPTH))


def _untyped(event: object) -> object:
    """Return an event and its inner ones as tagged mappings, unchecked."""
    if not isinstance(event, DpEvent):
        return event
    name = type(event).__name__
    tagged = {"class": name, **{field: getattr(event, field) for field in _FIELDS.get(name, {})}}
    inner = _INNER.get(name)
    if inner == "event":
        tagged[inner] = _untyped(getattr(event, inner))
    elif inner == "events":
        tagged[inner] = [_untyped(each) for each in getattr(event, inner)]
    return tagged


def _checked(value: object, where: str, depth: int) -> dict[str, Any]:
    """Return a tagged mapping whose every class, field and value is on the list."""
    name = value.get("class") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(name, str) or name not in _FIELDS:
        raise DocumentError(f"{where}.class: {name!r} is not allowed → one of {', '.join(_FIELDS)}")
    inner = _INNER.get(name)
    names = {"class", *_FIELDS[name], *([inner] if inner else [])}
    if set(value) != names:
        raise DocumentError(f"{where}: {name} has the fields {', '.join(sorted(names))} → no others, and none less")
    if inner and depth <= 1:
        raise DocumentError(f"{where}: events are nested too deeply → compose them in {MAX_DEPTH} levels at most")
    tagged: dict[str, Any] = {"class": name}
    tagged |= {field: check(value[field], f"{where}.{field}") for field, check in _FIELDS[name].items()}
    if inner == "event":
        tagged[inner] = _checked(value[inner], f"{where}.{inner}", depth - 1)
        if name == "PoissonSampledDpEvent" and tagged[inner]["class"] != "GaussianDpEvent":
            raise DocumentError(f"{where}.{inner}: only a GaussianDpEvent is accounted when sampled → do not sample it")
    elif inner:
        if not isinstance(value[inner], list):
            raise DocumentError(f"{where}.{inner}: is not a list → list the events")
        tagged[inner] = [_checked(each, f"{where}.{inner}[{i}]", depth - 1) for i, each in enumerate(value[inner])]
    return tagged


def _built(tagged: dict[str, Any]) -> DpEvent:
    """Return the event of a checked mapping."""
    fields = {key: value for key, value in tagged.items() if key != "class"}
    if "event" in fields:
        fields["event"] = _built(fields["event"])
    if "events" in fields:
        fields["events"] = [_built(each) for each in fields["events"]]
    return getattr(dp_event, tagged["class"])(**fields)
