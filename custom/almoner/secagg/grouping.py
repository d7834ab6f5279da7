"""What is public of a job of secret sharing in groups, and how one message serves all groups.

Each group is a job of secret sharing of its own, with the same questions at the same time. What a site is shown is one
message for all: the groups' parts one after the other, in the groups' order. The length of each part follows from who
is in it, so every site cuts out its own. Parts of other groups are public, signed or sealed for others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from almoner.errors import ProtocolError
from almoner.protection.draw import DrawTerms, Groups
from almoner.protection.groups import GroupLayout
from almoner.protection.meeting import AGREEMENT_BYTES, confirmation_bytes
from almoner.protection.scheme import Task
from almoner.protection.set_up import ED25519_BYTES, SET_UP_BYTES, JobTerms
from almoner.secagg.contribution import ENTRY_BYTES
from almoner.secagg.offers import offer_bytes
from almoner.secagg.session import total_bytes

Names = tuple[str, ...]


@dataclass(frozen=True)
class GroupedTerms:
    """What all sites of a grouped job hold alike before the groups are known.

    Args:
        job: of the job as a whole; its `limit`, `step` and `declared` are those of every group.
        draw: how the study's groups are drawn, of any epoch.
        layout: sizes of the groups, and what they bear; its rule combines their means.
        l2_clip_norm: L2 norm to which a group's mean is cut.
        sampling_prob: q.

    Raises:
        ProtocolError: job, draw and layout are not of the same sites.
    """

    job: JobTerms
    draw: DrawTerms
    layout: GroupLayout
    l2_clip_norm: float
    sampling_prob: float

    def __post_init__(self) -> None:
        if self.job.sites != self.draw.sites or self.layout.sizes != self.draw.group_sizes:
            raise ProtocolError("grouped job: its sites are not those of the draw: report this")

    def of_group(self, group: Names) -> JobTerms:
        """Return the terms of one group's own secret sharing: all of c, and a quorum of its threshold."""
        declared = dict(zip(self.job.sites, self.job.declared, strict=True))
        return replace(self.job, sites=group, declared=tuple(declared[site] for site in group), min_sites=1)

    def size(self, sites: Names) -> float:
        """Return the declared size of some sites together."""
        declared = dict(zip(self.job.sites, self.job.declared, strict=True))
        return float(sum(declared[site] for site in sites))


@dataclass(frozen=True)
class Grouping:
    """The drawn groups of a job.

    Args:
        groups: in the draw's order.
    """

    terms: GroupedTerms
    groups: Groups

    def terms_of(self, place: int) -> JobTerms:
        """Return the terms of one group."""
        return self.terms.of_group(self.groups[place])

    def place(self, site: str) -> int:
        """Return which group a site is in.

        Raises:
            ProtocolError: none.
        """
        for place, group in enumerate(self.groups):
            if site in group:
                return place
        raise ProtocolError(f"{site} is in no group")

    def in_groups(self, sites: Names) -> dict[int, Names]:
        """Return which of some sites are in which group; groups without any are left out."""
        parts = {place: tuple(site for site in sites if site in group) for place, group in enumerate(self.groups)}
        return {place: part for place, part in parts.items() if part}

    def in_order(self, sites: set[str]) -> Names:
        """Return some sites in the job's order."""
        return tuple(site for site in self.terms.job.sites if site in sites)

    def announcement_bytes(self, ring: Names) -> int:
        """Return the length of an announcement of these sites."""
        return sum(self._body_bytes("train", place, part) for place, part in self.in_groups(ring).items())

    def total_bytes(self, contributors: Names) -> int:
        """Return the length of a total of these sites."""
        return sum(total_bytes(self.terms_of(place)) for place in self.in_groups(contributors))

    def split(self, task: Task, sites: Names, body: bytes) -> dict[int, tuple[Names, bytes]]:
        """Return each group's sites and part of a message; groups without sites are left out.

        Raises:
            ProtocolError: wrong length.
        """
        parts = self.in_groups(sites)
        pieces = self._cut(body, [self._body_bytes(task, place, part) for place, part in parts.items()], task)
        return {place: (part, piece) for (place, part), piece in zip(parts.items(), pieces, strict=True)}

    def split_total(self, contributors: Names, total: bytes) -> dict[int, tuple[Names, bytes]]:
        """Return each group's contributors and total; groups without any are left out.

        Raises:
            ProtocolError: wrong length.
        """
        parts = self.in_groups(contributors)
        pieces = self._cut(total, [total_bytes(self.terms_of(place)) for place in parts], "open")
        return {place: (part, piece) for (place, part), piece in zip(parts.items(), pieces, strict=True)}

    def _cut(self, body: bytes, lengths: list[int], what: str) -> Iterator[bytes]:
        """Cut bytes into pieces of these lengths."""
        if len(body) != sum(lengths):
            raise ProtocolError(f"{what}: {len(body)} bytes for the parts of {len(lengths)} groups")
        ends = [sum(lengths[: place + 1]) for place in range(len(lengths))]
        return (body[end - size : end] for end, size in zip(ends, lengths, strict=True))

    def _body_bytes(self, task: Task, place: int, sites: Names) -> int:
        """Return the length of a group's part of a question's body, which is one piece for each of these sites."""
        terms = self.terms_of(place)
        pieces: dict[Task, int] = {
            "confirm": SET_UP_BYTES,
            "agree": confirmation_bytes(terms, 0, is_dealer=False),
            "conclude": AGREEMENT_BYTES,
            "train": offer_bytes(len(terms.sites)),
            "acknowledge": ENTRY_BYTES,
            "reveal": ED25519_BYTES,
        }
        if task not in pieces:
            raise ProtocolError(f"{task}: its body has no parts of groups")
        return pieces[task] * len(sites)
