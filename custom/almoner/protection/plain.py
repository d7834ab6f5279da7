"""Plain aggregation: no protection at all, in the same frame and with the same sums as the others.

There are no keys and no set-up; a round is one question. A total says whose values are in it, and nothing proves it.
"""

from collections.abc import Sequence

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
    """

    def __init__(self, dimension: int, min_sites: int) -> None:
        self._dimension, self._min_sites = check_dimension(dimension), min_sites

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
                values[site] = _read(answer, Kind.ADDEND, 1, self._dimension, f"round {number}: message of {site}")
            except ProtocolError:
                continue
        if len(values) < self._min_sites:
            raise FederationError(f"round {number}: {len(values)} of at least {self._min_sites} updates were sound")
        return RoundTotal(tuple(values), combine(list(values.values()), self._dimension))


class PlainSite(SiteProtection):
    """Sends every value in clear.

    *Guarantee*: exact sums. Whoever sees a message reads the site's (noised) values, the server too. There are no
    keys to lose, so a wrong total is refused and the right one still taken.

    Args:
        dimension: entries d of every vector.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = check_dimension(dimension)
        self.total_bytes = message_bytes(dimension)
        self._sent: dict[int, bytes] = {}
        self._closed = False

    def answer(self, task: Task, number: int, contributors: tuple[str, ...], body: bytes) -> bytes:
        """Refuse: nothing but values is ever asked."""
        raise ProtocolError(f"{task}: not a question of plain aggregation")

    def begin(self, number: int, ring: tuple[str, ...], announcement: bytes) -> None:
        """Take an announcement, which is empty."""
        self._check_open()
        if ring or announcement:
            raise ProtocolError(f"round {number}: plain aggregation has no offers to announce")

    def protect(self, number: int, values: IntVector) -> bytes:
        """Return the saturated values in clear."""
        self._check_open()
        sent = message.join(
            _header(Kind.ADDEND, 1, self._dimension), saturate(values, self._dimension).astype(_ENTRY).tobytes()
        )
        if self._sent.setdefault(number, sent) != sent:
            raise ProtocolError(f"round {number}: other values than before")
        self._sent = {number: sent}
        return sent

    def open(self, number: int, contributors: tuple[str, ...], total: bytes) -> IntVector:
        """Return the sum that a total holds, as far as its header and its range go."""
        self._check_open()
        return _read(total, Kind.TOTAL, check_num_addends(len(contributors), "open"), self._dimension, "open: total")

    def close(self) -> None:
        """Answer nothing more."""
        self._closed = True

    def answer_bytes(self, task: Task) -> int:
        """Return the length of an update; nothing else is answered."""
        if task != "train":
            raise ProtocolError(f"{task}: not a question of plain aggregation")
        return self.total_bytes

    def announcement_bytes(self, ring_size: int) -> int:
        """Return 0."""
        return 0

    def _check_open(self) -> None:
        """Refuse what comes after the end."""
        if self._closed:
            raise ProtocolError("the protection of this job was closed")


def combine(addends: Sequence[IntVector], dimension: int) -> bytes:
    """Return the total of 1 to MAX_ADDENDS vectors int64[d].

    Raises:
        ProtocolError: too few or too many.
    """
    count = check_num_addends(len(addends), "combine")
    total = np.sum(np.stack(addends), axis=0, dtype=np.int64)
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
