"""Plain aggregation beyond the contract: its bytes, and what its server and its sites refuse."""

import numpy as np
import pytest

from almoner.errors import FederationError, ProtocolError
from almoner.protection.message import HEADER_BYTES
from almoner.protection.plain import PlainServer, PlainSite, combine, message_bytes
from almoner.protection.scheme import VALUE_BOUND, IntVector, RoundTotal

MAXIMUM = np.array([VALUE_BOUND, 0], dtype=np.int64)
SITES = ("ada", "bob", "cyd")


def sent(values: IntVector) -> bytes:
    site = PlainSite(2)
    site.begin(1, (), b"")
    return site.protect(1, values)


def added(messages: dict[str, bytes], min_sites: int = 2) -> RoundTotal:
    """Return what a server makes of sites' messages."""
    conversation = PlainServer(2, min_sites).round(1, SITES)
    assert next(conversation).answer_bytes == dict.fromkeys(SITES, message_bytes(2))
    with pytest.raises(StopIteration) as end:
        conversation.send(messages)
    total: RoundTotal = end.value.value
    return total


def test_values_are_four_little_endian_bytes_in_clear() -> None:
    assert sent(np.array([1, -2], dtype=np.int64))[HEADER_BYTES:].hex() == "01000000feffffff"


@pytest.mark.threat("T-45")
@pytest.mark.parametrize("entry", [VALUE_BOUND + 1, -VALUE_BOUND - 1, -(2**31)])
def test_an_addend_beyond_the_bound_is_left_out_and_named(entry: int) -> None:
    forged = sent(MAXIMUM)[:HEADER_BYTES] + np.array([entry, 0], dtype="<i4").tobytes()
    total = added({"ada": sent(MAXIMUM), "bob": forged, "cyd": sent(MAXIMUM)})
    assert (total.contributors, total.named) == (("ada", "cyd"), ("bob",))
    with pytest.raises(FederationError, match="round 1: 2 of at least 3 updates were sound"):
        added({"ada": sent(MAXIMUM), "bob": forged, "cyd": sent(MAXIMUM)}, min_sites=3)


def test_a_total_beyond_its_addends_is_refused() -> None:
    total = combine([MAXIMUM] * 2, 2)
    assert PlainSite(2).open(1, SITES[:2], total).tolist() == [2 * VALUE_BOUND, 0]
    forged = total[:HEADER_BYTES] + np.array([2 * VALUE_BOUND + 1, 0], dtype="<i4").tobytes()
    with pytest.raises(ProtocolError, match=r"beyond ±65534"):
        PlainSite(2).open(1, SITES[:2], forged)


@pytest.mark.parametrize("task", ["keys", "confirm", "agree", "conclude", "acknowledge", "reveal"])
def test_nothing_but_values_is_answered(task: str) -> None:
    with pytest.raises(ProtocolError):
        PlainSite(2).answer(task, 0, (), b"")  # type: ignore[arg-type]
    with pytest.raises(ProtocolError):
        PlainSite(2).answer_bytes(task)  # type: ignore[arg-type]


@pytest.mark.parametrize(("ring", "announcement"), [(SITES, b""), ((), b"x")])
def test_nothing_is_announced(ring: tuple[str, ...], announcement: bytes) -> None:
    with pytest.raises(ProtocolError):
        PlainSite(2).begin(1, ring, announcement)
