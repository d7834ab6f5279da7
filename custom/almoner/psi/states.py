"""What a site holds in each state of an alignment: no more than it then needs."""

from dataclasses import dataclass

from almoner.protection.hidden import Hidden
from almoner.protection.set_up import JobKeys
from almoner.psi.padding import PaddedList, SiteList
from almoner.psi.points import BlindingKey
from almoner.psi.session import Session


class New(Hidden):
    """Nothing was asked yet."""


class Ended(Hidden):
    """Something was not as it must be, or the job is over; nothing is held."""


@dataclass(frozen=True, repr=False, eq=False)
class Shown(Hidden):
    """This site showed its keys."""

    keys: JobKeys
    said: bytes


@dataclass(frozen=True, repr=False, eq=False)
class Met(Hidden):
    """This site checked everybody's keys; no data was read."""

    session: Session


@dataclass(frozen=True, repr=False, eq=False)
class Comparison(Hidden):
    """One site's list, made ready for one other, and the key that it is blinded with."""

    padded: PaddedList
    key: BlindingKey


@dataclass(frozen=True, repr=False, eq=False)
class Blinded(Hidden):
    """This site sealed its blinded list.

    Args:
        comparisons: by the other site; a member has one, with the leader.
    """

    session: Session
    own: SiteList
    comparisons: dict[str, Comparison]


@dataclass(frozen=True, repr=False, eq=False)
class Exchanged(Hidden):
    """This site blinded the others' lists once more.

    Args:
        padded: the own list for each other site.
        theirs: at the leader, each member's list, blinded by both; at a member nothing.
    """

    session: Session
    own: SiteList
    padded: dict[str, PaddedList]
    theirs: dict[str, list[bytes]]


@dataclass(frozen=True, repr=False, eq=False)
class Alignment(Hidden):
    """What a site keeps: which of its rows all other sites have too.

    Args:
        rows: of the site's own file, ascending, from 0.
        num_common: identifiers that all sites have.
        own: what became of the site's list.
    """

    rows: tuple[int, ...]
    num_common: int
    own: SiteList


@dataclass(frozen=True, repr=False, eq=False)
class Aligned(Hidden):
    """This site knows which of its rows the others have; keys and lists are gone."""

    alignment: Alignment
