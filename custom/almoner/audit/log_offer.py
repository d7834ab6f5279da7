"""What the server gives a site to cosign: the signed head, all leaf hashes, and one job's entries.

From the leaf hashes a site makes every proof itself, whatever head it cosigned last. They tell it how many entries
there are, and nothing of those of other jobs.
"""

from collections.abc import Iterable
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import rsa

from almoner.audit.hash_tree import HashTree
from almoner.audit.log_entries import Fact
from almoner.audit.tree_heads import ProvenEntry, SignedTreeHead
from almoner.audit.witness import Shown, Witness
from almoner.errors import EvidenceError
from almoner.schema.base import Digest, Document

OFFER = "an offer of a log's head → `almoner audit offer` writes one"


class LogOffer(Document):
    """A file that the server gives to its sites.

    Args:
        leaves: hashes of all entries.
        entries: those of the job, with proofs.
    """

    schema_version: Literal[1] = 1
    job_id: str
    signed: SignedTreeHead
    leaves: tuple[Digest, ...]
    entries: tuple[ProvenEntry, ...]


def cosign_offer(
    offer: LogOffer, witness: Witness, server_key: rsa.RSAPublicKey, facts: Iterable[Fact], private_key_pem: bytes
) -> str:
    """Check an offer against what the site cosigned last and knows of the job; return its cosignature, hexadecimal.

    Raises:
        EvidenceError: the head is not that of the leaves, does not extend the last one, or lacks one of the facts.
    """
    head, tree = offer.signed.head, HashTree(map(bytes.fromhex, offer.leaves))
    if (head.size, head.root) != (tree.size, tree.root().hex()):
        raise EvidenceError("log: the head is not that of the entries that were offered → not cosigned")
    held = witness.newest()
    old = 0 if held is None else held.head.size
    consistency = tree.consistency_proof(old) if old <= tree.size else ()
    shown = Shown(offer.signed, server_key, consistency, offer.entries, offer.job_id)
    return witness.cosign(shown, held, facts, private_key_pem)
