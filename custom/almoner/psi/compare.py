"""What is in common: equal points in lists that both sides have blinded, and the marks that tell a member so."""

from collections.abc import Iterable, Mapping, Sequence

from almoner.errors import ProtocolError
from almoner.psi.padding import PaddedList


def compare(
    padded: Mapping[str, PaddedList], mine: Mapping[str, Sequence[bytes]], theirs: Mapping[str, Sequence[bytes]]
) -> tuple[frozenset[bytes], dict[str, bytes]]:
    """Return the identifiers that the leader finds at every member, and the marks for each.

    Args:
        padded: the leader's list as it was made ready for each member.
        mine: the same list, blinded by both, in the same order.
        theirs: each member's list, blinded by both.
    """
    places = {member: {point: place for place, point in enumerate(points)} for member, points in theirs.items()}
    found: dict[str, dict[bytes, int]] = {}
    for member, own in padded.items():
        pairs = zip(own.identifiers, mine[member], strict=True)
        at = places[member]
        found[member] = {value: at[point] for value, point in pairs if value is not None and point in at}
    common = frozenset.intersection(*(frozenset(matches) for matches in found.values()))
    return common, {
        member: _marks(len(theirs[member]), (matches[value] for value in common)) for member, matches in found.items()
    }


def marked(padded: PaddedList, marks: bytes) -> frozenset[bytes]:
    """Return the identifiers that are marked.

    *Guarantee*: whether it raises does not depend on the list: a mark on what stands for no record means nothing. Were
    it refused, a leader could mark places at will and see from the refusal how many records the list has.

    Raises:
        ProtocolError: the marks have another length.
    """
    if len(marks) != (len(padded.identifiers) + 7) // 8:
        raise ProtocolError("marks: not one for each entry")
    return frozenset(
        value
        for place, value in enumerate(padded.identifiers)
        if value is not None and marks[place // 8] >> place % 8 & 1
    )


def _marks(num_entries: int, places: Iterable[int]) -> bytes:
    """Return one bit for each entry, set at the given places; the lowest bit of a byte comes first."""
    marks = bytearray((num_entries + 7) // 8)
    for place in places:
        marks[place // 8] |= 1 << place % 8
    return bytes(marks)
