"""A Merkle tree that only grows: roots and proofs of any of its sizes, hashed as in RFC 9162.

Hashes of complete subtrees are kept, so that a proof costs a logarithm of hashes. That an entry is in a tree is
checked by `secagg.merkle.verify_inclusion`; that a tree extends an older one, here.

Reference: RFC 9162, sections 2.1.1, 2.1.3 and 2.1.4.
"""

import hashlib
from collections.abc import Iterable, Sequence

from almoner.errors import EvidenceError

EMPTY_ROOT = hashlib.sha256().digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of one entry, 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees, 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class HashTree:
    """The tree over some leaf hashes, in the order in which they were appended."""

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaf_hashes:
            self.append(leaf)

    @property
    def size(self) -> int:
        """Number of leaves."""
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add a leaf's hash."""
        level, digest = 0, leaf
        while True:
            if level == len(self._levels):
                self._levels.append([])
            row = self._levels[level]
            row.append(digest)
            if len(row) % 2:
                return
            level, digest = level + 1, node_hash(row[-2], row[-1])

    def leaf(self, index: int) -> bytes:
        """Return a leaf's hash."""
        return self._levels[0][index]

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first `size` leaves, or of all.

        Raises:
            EvidenceError: there are not so many.
        """
        size = self._checked(self.size if size is None else size)
        return self._hash(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """Return the hashes beside the path from a leaf to the root of the first `size` leaves, the lowest first.

        Raises:
            EvidenceError: there is no such leaf in that tree.
        """
        size = self._checked(self.size if size is None else size)
        if not 0 <= index < size:
            raise EvidenceError(f"log: entry {index} is not in a tree of {size} entries → indices count from 0")
        return self._path(index, 0, size)

    def consistency_proof(self, old: int, size: int | None = None) -> tuple[bytes, ...]:
        """Return what shows that the first `old` leaves are the beginning of the first `size`.

        Raises:
            EvidenceError: the sizes are not in order, or there are not so many leaves.
        """
        size = self._checked(self.size if size is None else size)
        if not 0 <= old <= size:
            raise EvidenceError(f"log: a tree of {old} entries is no beginning of one of {size}")
        return self._subproof(old, 0, size, True) if 0 < old < size else ()

    def _checked(self, size: int) -> int:
        """Refuse sizes that the tree never had."""
        if not 0 <= size <= self.size:
            raise EvidenceError(f"log: there is no tree of {size} entries, it has {self.size}")
        return size

    def _hash(self, start: int, end: int) -> bytes:
        """Return the root over leaves start to end; `start` is a multiple of the power of two that covers them."""
        count = end - start
        if count & (count - 1) == 0:
            level = count.bit_length() - 1
            return self._levels[level][start >> level]
        middle = start + _split(count)
        return node_hash(self._hash(start, middle), self._hash(middle, end))

    def _path(self, index: int, start: int, end: int) -> tuple[bytes, ...]:
        """PATH of RFC 9162, 2.1.3.1."""
        if end - start == 1:
            return ()
        middle = start + _split(end - start)
        if index < middle:
            return (*self._path(index, start, middle), self._hash(middle, end))
        return (*self._path(index, middle, end), self._hash(start, middle))

    def _subproof(self, old: int, start: int, end: int, complete: bool) -> tuple[bytes, ...]:
        """SUBPROOF of RFC 9162, 2.1.4.1; `old` counts from 0, not from `start`."""
        if old == end:
            return () if complete else (self._hash(start, end),)
        middle = start + _split(end - start)
        if old <= middle:
            return (*self._subproof(old, start, middle, complete), self._hash(middle, end))
        return (*self._subproof(old, middle, end, False), self._hash(start, middle))


def verify_consistency(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `size` entries begins with the `old` entries of an older one.

    Raises:
        EvidenceError: it does not, or the proof does not show it.

    Reference: RFC 9162, section 2.1.4.2.
    """
    if not 0 <= old <= size:
        raise EvidenceError(f"log: a tree of {old} entries is no beginning of one of {size}")
    if old in (0, size):
        expected = EMPTY_ROOT if old == 0 else root
        if proof or old_root != expected:
            raise EvidenceError(f"log: two trees of {old} entries have different roots: the log was forked")
        return
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    first, last = old - 1, size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    if not path:
        raise EvidenceError("log: the consistency proof is empty")
    old_digest = digest = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise EvidenceError("log: the consistency proof is too long")
        if first & 1 or first == last:
            old_digest, digest = node_hash(sibling, old_digest), node_hash(sibling, digest)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            digest = node_hash(digest, sibling)
        first, last = first >> 1, last >> 1
    if last != 0 or old_digest != old_root or digest != root:
        raise EvidenceError(f"log: the tree of {size} entries does not begin with the {old} that were signed before")


def _split(size: int) -> int:
    """Return the largest power of two below a size of at least 2."""
    return 1 << ((size - 1).bit_length() - 1)
