"""What a site holds in each state of the agreement on keys: no more than it then needs."""

from dataclasses import dataclass

from almoner.protection.hidden import Hidden
from almoner.protection.meeting import Meeting
from almoner.protection.set_up import JobKeys, JobTerms, PublicKeys


@dataclass(frozen=True, repr=False, eq=False)
class Agreed(Hidden):
    """What a site holds after the agreement.

    Args:
        site: this one.
        transcript: T.
        members: M', who concluded too, in roster order.
        keys: this site's private keys for the job.
        public_keys: of every site that was present.
        tag_key: K_tag, known to all members.
        dealt: the job's secret under HE, else b"".
    """

    terms: JobTerms
    site: str
    transcript: bytes
    members: tuple[str, ...]
    keys: JobKeys
    public_keys: dict[str, PublicKeys]
    tag_key: bytes
    dealt: bytes

    def index(self, site: str) -> int:
        """Return a site's number among the sites of the job, from 1."""
        return self.terms.index(site)


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
class Confirmed(Hidden):
    """This site checked everybody's keys and boxed its share."""

    keys: JobKeys
    meeting: Meeting
    share: bytes
    dealt: bytes
    said: bytes


@dataclass(frozen=True, repr=False, eq=False)
class Shared(Hidden):
    """This site opened its boxes and signed what is in them."""

    keys: JobKeys
    meeting: Meeting
    members: tuple[str, ...]
    tag_key: bytes
    dealt: bytes
    digest: bytes
    said: bytes
