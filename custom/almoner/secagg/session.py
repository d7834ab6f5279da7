"""What is public of a job once its sites agreed on keys, and how every secret-sharing message is signed in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from almoner.protection.message import HEADER_BYTES, Header, Kind, SchemeId
from almoner.protection.set_up import ED25519_BYTES, JobTerms, PublicKeys, names, statement
from almoner.secagg.merkle import ROOT_BYTES
from almoner.secagg.modular import AnyPacking, packing_of
from almoner.secagg.tag import TAG_BYTES

OFFER_LABEL = b"almoner-secagg-offer-1"
CONTRIBUTION_LABEL = b"almoner-secagg-contribution-1"
ACKNOWLEDGEMENT_LABEL = b"almoner-secagg-acknowledgement-1"
REVEAL_LABEL = b"almoner-secagg-reveal-1"


@dataclass(frozen=True)
class Session:
    """The public state of one job.

    Args:
        terms: what all sites agreed to.
        transcript: T.
        members: M', who take part, in roster order.
        public_keys: of every member.
    """

    terms: JobTerms
    transcript: bytes
    members: tuple[str, ...]
    public_keys: Mapping[str, PublicKeys]

    @cached_property
    def _members(self) -> bytes:
        """The members, as they enter every statement."""
        return names(self.members)

    @cached_property
    def packing(self) -> AnyPacking:
        """How values become words; for sums of all sites of the job."""
        return packing_of(len(self.terms.sites), self.terms.limit)

    @property
    def words_bytes(self) -> int:
        """Length of a packed vector."""
        return self.packing.num_bytes(self.terms.dimension)

    def stated(self, label: bytes, number: int, site: str, *parts: bytes) -> bytes:
        """Return the 32 bytes that stand for a statement; they hold T, the members, the round and who states it."""
        return statement(label, self.transcript, number, site, self._members, *parts)

    def verify(self, label: bytes, number: int, site: str, signature: bytes, *parts: bytes) -> None:
        """Check a member's signature over a statement.

        Raises:
            ProtocolError: the site is no member, or did not sign this.
        """
        stated = self.stated(label, number, site, *parts)
        self.public_keys[site].verify(signature, stated, f"round {number}: {site}")


def contribution_header(terms: JobTerms) -> Header:
    """Return the header of a site's masked vector."""
    return _header(terms, Kind.ADDEND, 1, TAG_BYTES + ED25519_BYTES)


def total_header(terms: JobTerms, num_addends: int) -> Header:
    """Return the header of the sum of so many sites."""
    return _header(terms, Kind.TOTAL, num_addends, TAG_BYTES + ROOT_BYTES)


def contribution_bytes(terms: JobTerms) -> int:
    """Return the length of a site's masked vector."""
    return HEADER_BYTES + contribution_header(terms).payload_bytes


def total_bytes(terms: JobTerms) -> int:
    """Return the length of a total."""
    return HEADER_BYTES + total_header(terms, 1).payload_bytes


def _header(terms: JobTerms, kind: Kind, num_addends: int, more_bytes: int) -> Header:
    """Return a header; its parameters are the sites of the job, the limit, and the values of a word."""
    packing = packing_of(len(terms.sites), terms.limit)
    parameters = f"{packing.fields} n{len(terms.sites)} l{terms.limit}".encode().ljust(16, b"\0")
    size = packing.num_bytes(terms.dimension) + more_bytes
    return Header(SchemeId.SECAGG, kind, num_addends, terms.dimension, size, parameters)
