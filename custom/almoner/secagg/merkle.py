"""Merkle trees over a list of byte strings, hashed as in RFC 9162: root, and proofs that an entry is in it.

The server publishes the root over the contributors' signed commitments, so that anyone who holds one of them can
later show that it was counted. Leaves and inner nodes are hashed with different prefixes, so that none passes for
the other. A root does not hold the number of entries: who verifies a proof must know it from elsewhere (here: U).

Reference: RFC 9162, sections 2.1.1 and 2.1.3.
"""

import hashlib
from collections.abc import Sequence

from almoner.errors import ProtocolError

ROOT_BYTES = 32


def root(entries: Sequence[bytes]) -> bytes:
    """Return the hash of the tree over some entries, 32 bytes."""
    if len(entries) <= 1:
        return _leaf(entries[0]) if entries else hashlib.sha256().digest()
    middle = _split(len(entries))
    return _node(root(entries[:middle]), root(entries[middle:]))


def inclusion_proof(entries: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the hashes beside the path from an entry to the root, the lowest first.

    Raises:
        ProtocolError: there is no such entry.
    """
    if not 0 <= index < len(entries):
        raise ProtocolError(f"entry {index} of a tree with {len(entries)} entries: indices count from 0")
    if len(entries) == 1:
        return ()
    middle = _split(len(entries))
    if index < middle:
        return (*inclusion_proof(entries[:middle], index), root(entries[middle:]))
    return (*inclusion_proof(entries[middle:], index - middle), root(entries[:middle]))


def verify_inclusion(entry: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes) -> None:
    """Check that an entry stands at an index of the tree of some size and root.

    Args:
        size: number of entries, from a source that is trusted: a wrong one may verify.

    Raises:
        ProtocolError: it does not, or the proof does not show it.
    """
    if not 0 <= index < size:
        raise ProtocolError(f"inclusion proof: entry {index} of {size}: indices count from 0")
    first, last, digest = index, size - 1, _leaf(entry)
    for sibling in proof:
        if last == 0:
            raise ProtocolError("inclusion proof: it is too long for the tree")
        if first & 1 or first == last:
            digest = _node(sibling, digest)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            digest = _node(digest, sibling)
        first, last = first >> 1, last >> 1
    if last != 0 or digest != expected_root:
        raise ProtocolError("inclusion proof: the entry is not in the tree of this root")


def _split(size: int) -> int:
    """Return the largest power of two below a size of at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _leaf(entry: bytes) -> bytes:
    """Hash an entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def _node(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()
