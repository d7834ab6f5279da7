"""What the server shows of its log while a job runs: a signed head, and for each site what it must see proven.

A site says up to which size it knows the log. From there to the new head it gets a proof in a logarithm of hashes, and
its own entries of the job with theirs; so nothing here grows with the log, and no site is shown another's entries.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, ValidationError

from almoner.audit.hash_tree import HashTree, leaf_hash
from almoner.audit.log_entries import Fact, entries_of
from almoner.audit.tree_heads import ProvenEntry, SignedTreeHead, prove_entry
from almoner.errors import ProtocolError
from almoner.schema.base import Digest, Document, Model, Name


class Asked(NamedTuple):
    """What a site is to be shown.

    Args:
        size: of the head that it holds; 0 if it holds none.
        facts: of the job, which it looks for in the log.
    """

    size: int
    facts: Sequence[Fact]


class SiteProof(Model):
    """What shows one site that it may take a head.

    Args:
        size: from which the proof is: of the head that the site said to hold.
        consistency: that the log begins with what the site holds; empty where there is nothing to prove, and where
            the log is shorter than that.
        own: its facts, with proofs.
    """

    size: Annotated[int, Field(ge=0, lt=2**53)]
    consistency: tuple[Digest, ...]
    own: tuple[ProvenEntry, ...]


class ShownLog(Document):
    """The log as it is shown to the sites of a job.

    Args:
        certificate: the server's, PEM.
    """

    schema_version: Literal[1] = 1
    certificate: str
    signed: SignedTreeHead
    sites: dict[Name, SiteProof]


def show_log(
    entries: Sequence[bytes], signed: SignedTreeHead, certificate: bytes, job_id: str, asked: Mapping[str, Asked]
) -> ShownLog:
    """Return what sites are shown of a log.

    Args:
        entries: all that the head covers, or more.
        asked: by site.

    Raises:
        EvidenceError: an entry of the job cannot be read.
    """
    covered = entries[: signed.head.size]
    tree, of_job = HashTree(map(leaf_hash, covered)), list(entries_of(covered, job_id))
    sites = {}
    for site, (size, facts) in asked.items():
        proof = tree.consistency_proof(size) if size <= tree.size else ()
        own = [
            prove_entry(tree, index, entry)
            for index, entry in of_job
            if entry.site == site and (entry.kind, entry.site, entry.facts) in facts
        ]
        sites[site] = SiteProof(size=size, consistency=tuple(digest.hex() for digest in proof), own=tuple(own))
    return ShownLog(certificate=certificate.decode(), signed=signed, sites=sites)


def read_shown(data: bytes) -> ShownLog:
    """Read what the server shows.

    Raises:
        ProtocolError: it is no such message.
    """
    try:
        return ShownLog.model_validate_json(data)
    except ValidationError:
        raise ProtocolError("the server shows no head of its log") from None
