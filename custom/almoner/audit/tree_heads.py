"""Heads of the log: what the server signs, what sites sign after they have checked it, and what is proven by it."""

from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import Field, StringConstraints

from almoner.audit.hash_tree import HashTree
from almoner.audit.log_entries import LogEntry
from almoner.errors import EvidenceError, ProtocolError
from almoner.protection.signing import sign, verify_with
from almoner.schema.base import Digest, Model, canonical_json
from almoner.secagg.merkle import verify_inclusion

SignatureHex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{512,1024}$")]


class TreeHead(Model):
    """A log at one size.

    Args:
        log: SHA-256 fingerprint of the server's certificate: whose log it is.
        size: number of entries.
        root: root of the hash tree over them.
        time: when it was signed, by the server's clock.
    """

    log: Digest
    size: Annotated[int, Field(ge=0, lt=2**53)]
    root: Digest
    time: Annotated[str, Field(max_length=40)]

    def statement(self) -> bytes:
        """Return what the server signs."""
        return canonical_json({"almoner": "tree-head-1", **self.model_dump()})

    def cosign_statement(self, site: str) -> bytes:
        """Return what a site signs once it has found the head to extend the last one that it signed."""
        fields = {"log": self.log, "size": self.size, "root": self.root}
        return canonical_json({"almoner": "tree-cosignature-1", "site": site, **fields})


class SignedTreeHead(Model):
    """A head with the server's signature."""

    head: TreeHead
    signature: SignatureHex

    def verify(self, server_key: rsa.RSAPublicKey) -> None:
        """Check the server's signature.

        Raises:
            EvidenceError: the server did not sign this head.
        """
        _verify(server_key, self.signature, self.head.statement(), "log: the head is not signed by the server")


class ProvenEntry(Model):
    """An entry with the proof that it is in a tree: hashes, the lowest first, hexadecimal."""

    index: Annotated[int, Field(ge=0)]
    entry: str
    proof: tuple[Digest, ...]

    def read(self, signed: SignedTreeHead, where: str) -> LogEntry:
        """Return the entry after checking that it is in the tree of a head.

        Raises:
            EvidenceError: it is not, the proof does not show it, or it is no entry.
        """
        proof = [bytes.fromhex(digest) for digest in self.proof]
        head = signed.head
        try:
            verify_inclusion(self.entry.encode(), self.index, head.size, proof, bytes.fromhex(head.root))
        except ProtocolError as error:
            raise EvidenceError(f"{where}: {error}") from None
        return LogEntry.from_bytes(self.entry.encode(), where)


def prove_entry(tree: HashTree, index: int, entry: LogEntry) -> ProvenEntry:
    """Return an entry with the proof that it stands at a place of a tree."""
    proof = tuple(digest.hex() for digest in tree.inclusion_proof(index))
    return ProvenEntry(index=index, entry=entry.to_bytes().decode(), proof=proof)


def sign_tree_head(head: TreeHead, private_key_pem: bytes) -> SignedTreeHead:
    """Sign a head with the server's key."""
    return SignedTreeHead(head=head, signature=sign(private_key_pem, head.statement()).hex())


def verify_cosignature(head: TreeHead, site: str, site_key: rsa.RSAPublicKey, signature: str) -> None:
    """Check that a site cosigned a head.

    Raises:
        EvidenceError: it did not.
    """
    _verify(site_key, signature, head.cosign_statement(site), f"log: the head is not cosigned by {site}")


def _verify(key: rsa.RSAPublicKey, signature: str, statement: bytes, problem: str) -> None:
    """Check a signature."""
    try:
        verify_with(key, bytes.fromhex(signature), statement)
    except (InvalidSignature, ValueError):
        raise EvidenceError(problem) from None
