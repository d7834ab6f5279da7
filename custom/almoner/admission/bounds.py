"""The orders that fields of a policy are compared in: numbers, sets of grants, pins, flags.

A bound is looser than another if it admits anything that the other does not. None stands for "no such
restriction", which is looser than every restriction.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Self

NO_BOUND = "no restriction"


class Bound(ABC):
    """One field of a policy, as a set of what it admits."""

    @abstractmethod
    def beyond(self, other: Self) -> str:
        """Return what this admits and the other does not, in words; "" if there is nothing."""

    @abstractmethod
    def words(self) -> str:
        """Return what this admits, in words."""


@dataclass(frozen=True)
class AtMost(Bound):
    """A largest value."""

    value: float | None

    def beyond(self, other: "AtMost") -> str:
        """Return this value if it is above the other's."""
        if other.value is None or (self.value is not None and self.value <= other.value):
            return ""
        return NO_BOUND if self.value is None else str(self.value)

    def words(self) -> str:
        """Return the bound."""
        return NO_BOUND if self.value is None else f"at most {self.value}"


@dataclass(frozen=True)
class AtLeast(Bound):
    """A least value."""

    value: float | None

    def beyond(self, other: "AtLeast") -> str:
        """Return this value if it is below the other's."""
        if other.value is None or (self.value is not None and self.value >= other.value):
            return ""
        return NO_BOUND if self.value is None else str(self.value)

    def words(self) -> str:
        """Return the bound."""
        return NO_BOUND if self.value is None else f"at least {self.value}"


@dataclass(frozen=True)
class AtLeastInherited(AtLeast):
    """A least value that is another field's where it is not written; where neither is, that field's bound says it all.

    Args:
        written: whether it is.
    """

    written: bool = True

    def beyond(self, other: "AtLeast") -> str:
        """Return this value if it is below the other's, and one of both is written."""
        either = self.written or (isinstance(other, AtLeastInherited) and other.written)
        return super().beyond(other) if either else ""


def _equal(wide: Any, narrow: Any) -> bool:
    """Say whether two grants are the same."""
    return bool(wide == narrow)


@dataclass(frozen=True)
class Within(Bound):
    """Grants; what is in none of them is refused.

    Args:
        grants: each with the words for it.
        covers: whether the first grant admits all that the second does.
        text: words for all grants together, if a list of them is too long.
    """

    grants: Mapping[Hashable, str] | None
    covers: Callable[[Any, Any], bool] = _equal
    text: str = ""

    def beyond(self, other: "Within") -> str:
        """Return the grants that no grant of the other covers."""
        if other.grants is None:
            return ""
        if self.grants is None:
            return NO_BOUND
        wide = other.grants
        return ", ".join(
            sorted(text for grant, text in self.grants.items() if not any(other.covers(outer, grant) for outer in wide))
        )

    def words(self) -> str:
        """Return the grants."""
        if self.grants is None:
            return NO_BOUND
        return "only " + (self.text or ", ".join(sorted(self.grants.values())) or "nothing")


@dataclass(frozen=True)
class Pinned(Bound):
    """Digests by workload, as far as a workload is admitted at all; one that is not named may be any.

    Args:
        pins: workload → accepted digests.
        admitted: the workloads that the policy admits.
    """

    pins: Mapping[str, tuple[str, ...]]
    admitted: tuple[str, ...]

    def beyond(self, other: "Pinned") -> str:
        """Return the workloads of which this admits a digest that the other does not."""
        found = []
        for name in sorted(set(self.admitted) & set(other.pins)):
            if name not in self.pins:
                found.append(f"{name} unpinned")
            else:
                found += [f"{name} {pin[:16]}" for pin in self.pins[name] if pin not in other.pins[name]]
        return ", ".join(found)

    def words(self) -> str:
        """Return the pins."""
        pins = [f"{name} {pin[:16]}" for name, digests in sorted(self.pins.items()) for pin in digests]
        return "only " + ", ".join(pins) if pins else NO_BOUND


@dataclass(frozen=True)
class Without(Bound):
    """Certificates that are refused, each from a day on.

    Args:
        since: fingerprint → the day.
    """

    since: Mapping[str, date]

    def beyond(self, other: "Without") -> str:
        """Return the certificates that the other refuses, and this does not, or not as early."""
        late = sorted(name for name, day in other.since.items() if self.since.get(name, date.max) > day)
        return ", ".join(name[:16] + (f" until {self.since[name]}" if name in self.since else "") for name in late)

    def words(self) -> str:
        """Return what is refused."""
        listed = ", ".join(f"{name[:16]} since {day}" for name, day in sorted(self.since.items()))
        return f"any but {listed}" if listed else NO_BOUND


@dataclass(frozen=True)
class Permission(Bound):
    """A yes or no, where yes admits more."""

    given: bool

    def beyond(self, other: "Permission") -> str:
        """Return "true" if only this one says yes."""
        return "true" if self.given and not other.given else ""

    def words(self) -> str:
        """Return the answer."""
        return str(self.given).lower()
