"""A site's test accuracy: a noised (correct, wrong) histogram, since a ratio over a private n leaks.

The noise is OpenDP's integer (discrete) Laplace. The privacy unit is one test record, each unit has
one record, and the relation is add_or_remove_one: a unit moves one of two counts by one, so the L1
sensitivity is 1 and the histogram costs ε in total.
"""

import operator
import struct
from dataclasses import dataclass

from pydantic import ValidationError

from almoner.errors import DataError, PolicyViolation, ProtocolError
from almoner.release.mechanisms import measurement
from almoner.schema.receipt import PureRelease

MIN_EPSILON = 1e-6
MAX_COUNT = 1_000_000_000
"""Counts saturate here, the largest size that a site can declare; saturating keeps the sensitivity."""

_LAYOUT = struct.Struct("<qq")
RELEASE_BYTES = _LAYOUT.size
"""Length of every release."""


@dataclass(frozen=True)
class NoisyAccuracy:
    """What leaves the site: two noised counts, either of which may be negative."""

    noisy_correct: int
    noisy_wrong: int

    def to_bytes(self) -> bytes:
        """Return the counts as 16 bytes, little-endian.

        Raises:
            ProtocolError: a count does not fit into 64 bits.
        """
        try:
            return _LAYOUT.pack(self.noisy_correct, self.noisy_wrong)
        except struct.error as error:
            raise ProtocolError("accuracy: a count does not fit into 64 bits: pass on single releases") from error

    @classmethod
    def from_bytes(cls, data: bytes) -> "NoisyAccuracy":
        """Return the release that `to_bytes` wrote.

        Raises:
            ProtocolError: not 16 bytes.
        """
        if not isinstance(data, bytes) or len(data) != _LAYOUT.size:
            raise ProtocolError(f"accuracy: not {_LAYOUT.size} bytes: all parties must run the same release")
        return cls(*_LAYOUT.unpack(data))


def event(epsilon: float) -> PureRelease:
    """Return the privacy event of one accuracy release.

    Raises:
        PolicyViolation: ε is not a number in [MIN_EPSILON, 100].
    """
    try:
        made = PureRelease(kind="pure_release", epsilon=epsilon, count=1)
    except ValidationError as error:
        raise _epsilon_refused(epsilon) from error
    if made.epsilon < MIN_EPSILON:
        raise _epsilon_refused(epsilon)
    return made


def release_accuracy(num_correct: int, num_wrong: int, epsilon: float) -> NoisyAccuracy:
    """Release how many test records a model got right and wrong.

    *Guarantee*: ε-DP for one test record under add_or_remove_one, by OpenDP's own map; the caller
    charges `event(epsilon)` before it counts. How long sampling takes is not covered.

    Args:
        num_correct: records right, private.
        num_wrong: records wrong, private.
        epsilon: total ε of both counts.

    Raises:
        PolicyViolation: ε is out of range.
        DataError: a count is negative or no integer; the text does not say which.
    """
    noise = measurement(event(epsilon), size=2, bound=1)
    noisy_correct, noisy_wrong = noise([_count(num_correct), _count(num_wrong)])
    return NoisyAccuracy(noisy_correct, noisy_wrong)


def _count(value: int) -> int:
    """Return a count as a plain, saturated integer."""
    try:
        count = operator.index(value)
    except TypeError:
        count = -1
    if count < 0:
        raise DataError("accuracy: a count is negative or no integer: pass numbers of test records")
    return min(count, MAX_COUNT)


def _epsilon_refused(epsilon: object) -> PolicyViolation:
    """Return the error for an ε out of range."""
    return PolicyViolation(f"accuracy: ε={epsilon!r} is not a number in [{MIN_EPSILON:g}, 100]: set releases.epsilon")
