"""Plain aggregation: no protection at all, in the same frame and with the same sums as the others.

There are no keys and no set-up; a round is one question. A total says whose values are in it, and nothing proves it.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from almoner.errors import FederationError, ProtocolError
from almoner.protection import message
from almoner.protection.message import Header, Kind, SchemeId
from almoner.protection.scheme import (
    VALUE_BOUND,
    Conversation,
    IntVector,
    Question,
    RoundTotal,
    ServerProtection,
    SiteProtection,
    Task,
    check_dimension,
    check_num_addends,
    saturate,
)

logger = logging.getLogger(__name__)

_ENTRY = np.dtype("<i4")
_PARAMETERS = b"int32-le".ljust(16, b"\0")


def message_bytes(dimension: int) -> int:
    """Return the length of every message and every total: a header, and four little-endian bytes an entry."""
    return message.HEADER_BYTES + check_dimension(dimension) * _ENTRY.itemsize


class PlainServer(ServerProtection):
    """Adds the values that it reads.

    Args:
        dimension: entries d of every vector.
        min_sites: fewest contributors of a round.
        least_energy: an update whose entries squared sum to less lacks its declared noise, and is left out; see
            `training.floor`, also for what this does not find.
    """

    def __init__(self, dimension: int, min_sites: int, least_energy: float = 0.0) -> None:
        self._dimension, self._min_sites = check_dimension(dimension), min_sites
        self._least_energy = least_energy

    def set_up(self, sites: tuple[str, ...]) -> Conversation[tuple[str, ...]]:
        """Ask nothing: there are no keys."""
        yield from ()
        return sites

    def round(self, number: int, sites: tuple[str, ...]) -> Conversation[RoundTotal]:
        """Ask for the values and add them; a damaged message counts as none."""
        size = message_bytes(self._dimension)
        answers = yield Question("train", number, (), b"", sites, self._min_sites, dict.fromkeys(sites, size))
        values = {}
        for site, answer in answers.items():
            try:
                values[site] = self._read_update(answer, f"round {number}: message of {site}")
            except ProtocolError as error:
                logger.warning("left out: %s", error)
        if len(values) < self._min_sites:
            raise FederationError(f"round {number}: {len(values)} of at least {self._min_sites} updates were sound")
        named = tuple(site for site in answers if site not in values)
        total, report = self._combine(number, values)
        return RoundTotal(tuple(values), total, named=named, report=report)

    def _read_update(self, answer: bytes, where: str) -> IntVector:
        """Return the values of a site's message; refuse those that are quieter than the declared noise."""
        values = _read(answer, Kind.ADDEND, 1, self._dimension, where)
        as_floats = values.astype(np.float64)  # squares of what a site may send wrap 64-bit integers
        if float(as_floats @ as_floats) < self._least_energy:
            raise ProtocolError(f"{where}: quieter than the noise that the job declares → see the site's trainer")
        return values

    def _combine(self, number: int, values: dict[str, IntVector]) -> tuple[bytes, dict[str, Any] | None]:
        """Return the total of a round, and what is to be reported of it."""
        return combine(list(values.values()), self._dimension), None


class PlainSite(SiteProtection):
    """Sends every value in clear.

    *Guarantee*: exact sums. Whoever sees a message reads the site's (noised) values, the server too.

    Args:
        dimension: entries d of every vector.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = check_dimension(dimension)
        self._number, self._sent, self._ended = 0, b"", False
        self._lock = threading.Lock()

    def answer(self, task: Task, number: int, contributors: tuple[str, ...], body: bytes) -> bytes:
        """Refuse: nothing but values is ever asked."""
        with self._or_end():
            raise ProtocolError(f"{task}: not a question of plain aggregation")

    def begin(self, number: int, ring: tuple[str, ...], announcement: bytes) -> None:
        """Take the number of the next round, or of this one again; nothing is announced."""
        with self._or_end():
            if ring or announcement or number < max(1, self._number):
                raise ProtocolError(f"round {number}: not to be begun after round {self._number}, or not like this")
            if number > self._number:
                self._number, self._sent = number, b""

    def protect(self, number: int, values: IntVector) -> bytes:
        """Return the saturated values in clear."""
        with self._or_end():
            sent = message.join(
                _header(Kind.ADDEND, 1, self._dimension), saturate(values, self._dimension).astype(_ENTRY).tobytes()
            )
            if not 0 < number == self._number or self._sent not in (b"", sent):
                raise ProtocolError(f"round {number}: not begun, or other values were sent in it")
            self._sent = sent
            return sent

    def open(self, number: int, contributors: tuple[str, ...], total: bytes) -> IntVector:
        """Return the sum that a total holds, as far as its header and its range go."""
        with self._or_end():
            count = check_num_addends(len(contributors), "open")
            return _read(total, Kind.TOTAL, count, self._dimension, f"total of round {number}")

    def close(self) -> None:
        """Answer nothing more."""
        self._ended = True

    def answer_bytes(self, task: Task) -> int:
        """Return the length of an update; nothing else is answered."""
        if task != "train":
            raise ProtocolError(f"{task}: not a question of plain aggregation")
        return message_bytes(self._dimension)

    def announcement_bytes(self, ring: tuple[str, ...]) -> int:
        """Return 0."""
        return 0

    def total_bytes(self, contributors: tuple[str, ...]) -> int:
        """Return the one length of all messages."""
        return message_bytes(self._dimension)

    @contextmanager
    def _or_end(self) -> Iterator[None]:
        """Carry out one step at a time; nothing works after one that failed."""
        with self._lock:
            if self._ended:
                raise ProtocolError("this site takes no further part in the job")
            self._ended = True
            yield
            self._ended = False


def combine(addends: Sequence[IntVector], dimension: int) -> bytes:
    """Return the total of 1 to MAX_ADDENDS vectors int64[d].

    Raises:
        ProtocolError: too few or too many.
    """
    count = check_num_addends(len(addends), "combine")
    return write_total(np.sum(np.stack(addends), axis=0, dtype=np.int64), count)


def write_total(total: IntVector, count: int) -> bytes:
    """Return the message that holds a total of so many sites; int64[d], within what they can sum to."""
    dimension = total.size
    return message.join(_header(Kind.TOTAL, count, dimension), total.astype(_ENTRY).tobytes())


def _header(kind: Kind, num_addends: int, dimension: int) -> Header:
    """Return the header that a message of this scheme has."""
    return Header(SchemeId.PLAIN, kind, num_addends, dimension, dimension * _ENTRY.itemsize, _PARAMETERS)


def _read(data: bytes, kind: Kind, num_addends: int, dimension: int, where: str) -> IntVector:
    """Return the values of a message, all within what so many addends can sum to."""
    payload = message.split(data, _header(kind, num_addends, dimension), where)
    values = np.frombuffer(payload, dtype=_ENTRY).astype(np.int64)
    if np.abs(values).max() > num_addends * VALUE_BOUND:
        raise ProtocolError(f"{where}: holds an entry beyond ±{num_addends * VALUE_BOUND}: it was not made here")
    return values
