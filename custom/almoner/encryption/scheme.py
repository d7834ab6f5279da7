"""What a protection scheme does: hide a site's integers so that the server can only add them.

A site calls `protect`, the server `combine`, a site `open`. Values are integers in
[-VALUE_BOUND, VALUE_BOUND]; larger ones saturate, since a refusal would tell about the data.
The sum is exact. A message's length depends on the scheme and the dimension alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from almoner.protection.scheme import IntVector, check_dimension


class ProtectionScheme(ABC):
    """Adds integer vectors of one dimension under one kind of protection.

    Args:
        dimension: number of entries d of every vector, public.

    Raises:
        ProtocolError: the dimension is not in [1, MAX_DIMENSION].
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = check_dimension(dimension)

    @property
    def dimension(self) -> int:
        """Number of entries of every vector."""
        return self._dimension

    @property
    @abstractmethod
    def message_bytes(self) -> int:
        """Length of every message that `protect` returns."""

    @property
    @abstractmethod
    def total_bytes(self) -> int:
        """Length of every total that `combine` returns."""

    @abstractmethod
    def protect(self, values: IntVector) -> bytes:
        """Return a site's message that holds its values.

        Args:
            values: int64[d]; entries beyond ±VALUE_BOUND saturate. Not modified.

        Raises:
            ProtocolError: wrong type or shape, or this side holds no key.
        """

    @abstractmethod
    def combine(self, messages: Sequence[bytes]) -> bytes:
        """Return the total of 1 to MAX_ADDENDS sites' messages; needs no key.

        Raises:
            ProtocolError: a message is damaged, or of another scheme, kind or dimension, or there are
                too few or too many.
        """

    @abstractmethod
    def open(self, total: bytes, num_addends: int) -> IntVector:
        """Return the sum int64[d] that a total holds.

        Args:
            total: what `combine` returned.
            num_addends: how many messages the caller knows to be in it; the total must say the same.

        Raises:
            ProtocolError: the total is damaged, or of another scheme, kind, dimension or number of
                addends, or holds what no such sum can hold, or this side holds no key.
        """
