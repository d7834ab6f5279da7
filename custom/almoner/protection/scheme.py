"""The two sides of every protection: what a site does so that the server can only add.

Neither side does I/O. The server's side is a generator that yields questions and is sent the answers; a driver
carries them (flare/ in a federation, a simulator in tests). The site's side answers one question at a time.

Values are integers in [-VALUE_BOUND, VALUE_BOUND]; larger ones saturate, since a refusal would tell about the
data. Sums are exact. The length of every message depends on public numbers alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from almoner.errors import ProtocolError

IntVector = npt.NDArray[np.int64]

VALUE_BOUND = 32_767
"""Largest absolute value of one addend's entry: 16-bit fixed point."""

MAX_ADDENDS = 50
"""Most messages that one total may hold; also the largest number of sites in a consortium."""

MAX_DIMENSION = 100_000_000

Task = Literal[
    "draw-commit",
    "draw-reveal",
    "draw-settle",
    "keys",
    "confirm",
    "agree",
    "conclude",
    "train",
    "acknowledge",
    "reveal",
]


@dataclass(frozen=True)
class Question:
    """One broadcast of the server: the same bytes to each site that is asked.

    Args:
        task: what is asked.
        number: the round, 0 at set-up.
        contributors: whose parts the body consists of, in roster order; for "train" the sites whose offers it
            announces; () where there are none.
        sites: who is asked, in roster order.
        min_answers: with fewer answers of the right length the job ends.
        answer_bytes: the one length that each asked site's answer has.
        enough_answers: with so many the rest is late, and waited for no longer than others took; `min_answers` unless
            given.
    """

    task: Task
    number: int
    contributors: tuple[str, ...]
    body: bytes
    sites: tuple[str, ...]
    min_answers: int
    answer_bytes: dict[str, int]
    enough_answers: int | None = None


Answers = dict[str, bytes]
"""Answers of the right length by site, in roster order; a driver drops all others."""

T = TypeVar("T")
Conversation = Generator[Question, Answers, T]
"""Questions of the server; it ends with a result of type T."""


@dataclass(frozen=True)
class RoundTotal:
    """What a round comes to at the server.

    Args:
        contributors: the sites whose values are in the sum, in roster order.
        body: what sites open.
        commitments_root: Merkle root of the contributors' commitments in hexadecimal; "" if the protection has none.
        named: sites that broke the protocol in a way that the server can tell; the log says how.
        report: where a robust rule made the total, what became of each row, in types that JSON has.
    """

    contributors: tuple[str, ...]
    body: bytes
    commitments_root: str = ""
    named: tuple[str, ...] = ()
    report: dict[str, Any] | None = None


class ServerProtection(ABC):
    """The server's side: it relays, adds, and holds no key."""

    @abstractmethod
    def set_up(self, sites: tuple[str, ...]) -> Conversation[tuple[str, ...]]:
        """Have the sites agree on keys; end with the sites that can go on.

        Args:
            sites: who takes part in the job, in roster order.

        Raises:
            FederationError: too few answered as they should.
        """

    @abstractmethod
    def round(self, number: int, sites: tuple[str, ...]) -> Conversation[RoundTotal]:
        """Collect and add one round's values; the first question is "train".

        Args:
            number: of the round, from 1.
            sites: who can take part, in roster order.

        Raises:
            FederationError: too few answered as they should.
        """


class SiteProtection(ABC):
    """A site's side. After a `ProtocolError` every later call raises too, and the keys are forgotten."""

    @abstractmethod
    def answer(self, task: Task, number: int, contributors: tuple[str, ...], body: bytes) -> bytes:
        """Answer any question but "train"; no data is touched. The same question again has the same answer.

        Raises:
            ProtocolError: the question is not allowed now, or says something that is not true.
        """

    @abstractmethod
    def begin(self, number: int, ring: tuple[str, ...], announcement: bytes) -> None:
        """Take a round's announcement, before the round's data is touched or charged.

        Raises:
            ProtocolError: this site must not contribute to the round.
        """

    @abstractmethod
    def protect(self, number: int, values: IntVector) -> bytes:
        """Return the message that holds this site's values; once a round.

        Args:
            values: int64[d]; entries beyond ±VALUE_BOUND saturate. Not modified.

        Raises:
            ProtocolError: wrong type or shape, or other values than before in this round, or the round was not begun.
        """

    @abstractmethod
    def open(self, number: int, contributors: tuple[str, ...], total: bytes) -> IntVector:
        """Return the verified sum int64[d] of a round.

        Raises:
            ProtocolError: the total is damaged, or not the sum of the values of these contributors.
        """

    @abstractmethod
    def close(self) -> None:
        """Forget the keys; every later call raises."""

    @abstractmethod
    def answer_bytes(self, task: Task) -> int:
        """Return the one length of this site's answer to a task."""

    @abstractmethod
    def announcement_bytes(self, ring: tuple[str, ...]) -> int:
        """Return the length of an announcement of these sites."""

    @abstractmethod
    def total_bytes(self, contributors: tuple[str, ...]) -> int:
        """Return the length of a total of these sites' values."""


def saturate(values: IntVector, dimension: int) -> IntVector:
    """Return a copy with every entry moved into [-VALUE_BOUND, VALUE_BOUND].

    Args:
        values: int64[d].
        dimension: the d that is expected.

    Raises:
        ProtocolError: not an int64 array of that shape.
    """
    check_values(values, dimension)
    return np.clip(values, -VALUE_BOUND, VALUE_BOUND)


def check_values(values: IntVector, dimension: int) -> None:
    """Check what a site protects; its entries may be any.

    Raises:
        ProtocolError: not an int64 array of that shape.
    """
    if not isinstance(values, np.ndarray) or values.dtype != np.int64:
        raise ProtocolError("protect: the values are not an int64 array: quantise them first")
    if values.shape != (dimension,):
        raise ProtocolError(f"protect: the values have shape {values.shape}, expected ({dimension},): flatten them")


def check_num_addends(num_addends: int, where: str) -> int:
    """Return the number of addends if a total may have as many.

    Raises:
        ProtocolError: it is not an integer in [1, MAX_ADDENDS].
    """
    if not isinstance(num_addends, int) or not 1 <= num_addends <= MAX_ADDENDS:
        raise ProtocolError(f"{where}: {num_addends!r} addends, expected 1 to {MAX_ADDENDS}: check the number of sites")
    return num_addends


def check_dimension(dimension: int) -> int:
    """Return the dimension if a vector may have it.

    Raises:
        ProtocolError: it is not an integer in [1, MAX_DIMENSION].
    """
    if not isinstance(dimension, int) or not 1 <= dimension <= MAX_DIMENSION:
        raise ProtocolError(f"dimension {dimension!r} is not in [1, {MAX_DIMENSION}]: check the model")
    return dimension
