"""What is public of a job of secret sharing in groups, and how one message serves all groups.

Each group is a job of secret sharing of its own, with the same questions at the same time. What a site is shown is one
message for all: the groups' parts one after the other, in the groups' order. The length of each part follows from who
is in it, so every site cuts out its own. Parts of other groups are public, signed or sealed for others.
"""

from dataclasses import dataclass, replace
from typing import Literal

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
Message = Task | Literal["total"]
"""What sites are shown: a question's body, or a round's total."""


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
class DrawnGroups:
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

    def num_bytes(self, message: Message, sites: Names) -> int:
        """Return the length of a message of these sites."""
        return sum(self._part_bytes(message, place, part) for place, part in self.in_groups(sites).items())

    def split(self, message: Message, sites: Names, body: bytes) -> dict[int, tuple[Names, bytes]]:
        """Return each group's sites and part of a message; groups without sites are left out.

        Raises:
            ProtocolError: wrong length.
        """
        if len(body) != self.num_bytes(message, sites):
            raise ProtocolError(f"{message}: {len(body)} bytes for the parts of {len(sites)} sites' groups")
        found, start = {}, 0
        for place, part in self.in_groups(sites).items():
            end = start + self._part_bytes(message, place, part)
            found[place], start = (part, body[start:end]), end
        return found

    def _part_bytes(self, message: Message, place: int, sites: Names) -> int:
        """Return the length of a group's part: its total, or in a question one piece for each of these sites."""
        terms = self.terms_of(place)
        if message == "total":
            return total_bytes(terms)
        pieces: dict[Message, int] = {
            "confirm": SET_UP_BYTES,
            "agree": confirmation_bytes(terms, 0, is_dealer=False),
            "conclude": AGREEMENT_BYTES,
            "train": offer_bytes(len(terms.sites)),
            "acknowledge": ENTRY_BYTES,
            "reveal": ED25519_BYTES,
        }
        if message not in pieces:
            raise ProtocolError(f"{message}: its body has no parts of groups")
        return pieces[message] * len(sites)
