"""Masks that cancel: a keystream over the words of a vector, and a number mod p over its tag.

A site u adds the mask of its own secret b_u, and for every other site v of the ring the mask of the secret that the
two share, with a plus if u comes before v in the roster and a minus otherwise. In the sum over all sites the shared
masks cancel; the server takes off the rest with what t sites reveal.

*Guarantee*: without its secret a mask's words are AES-256 in counter mode, indistinguishable from uniform ones, and
its tag pad is uniform mod p up to 2^-195. Keys are derived from 32-byte secrets by HKDF with the transcript, the
round, the sites and the digest of the ring's announcement: no two rounds, rings or pairs share a mask.

Words are masked in place, block by block; nothing but one block of keystream is held beside them.

Reference: Bonawitz et al., "Practical secure aggregation for privacy-preserving machine learning", CCS 2017, section 4.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from almoner.protection.boxes import derive, shared_secret
from almoner.protection.hidden import Hidden
from almoner.protection.stream import Stream
from almoner.secagg.packing import Words
from almoner.secagg.tag import PRIME

_SELF_LABEL = b"almoner-secagg-self-mask-1"
_PAIR_LABEL = b"almoner-secagg-pair-mask-1"
_WORDS_LABEL = b"almoner-secagg-mask-of-words-1"
_TAG_LABEL = b"almoner-secagg-mask-of-tag-1"
_BLOCK_WORDS = 2**14
_PRIME = np.uint64(PRIME)
_NO_NAME = ""


class Mask(Hidden):
    """One mask with its sign; made for one ring of one round.

    Args:
        secret: 32 bytes, derived for this mask alone; the keys of the words and of the tag are derived from it.
        transcript: T.
        number: the round.
        sign: 1 where it is added, -1 where it is subtracted.
    """

    def __init__(self, secret: bytes, transcript: bytes, number: int, sign: int) -> None:
        self._context = (transcript, number)
        self._secret, self.sign = secret, sign

    def __neg__(self) -> "Mask":
        """Return what takes this mask off."""
        return Mask(self._secret, *self._context, -self.sign)

    def stream(self) -> Stream:
        """Return the keystream over the words, from its beginning."""
        return Stream(derive(self._secret, _WORDS_LABEL, *self._context, _NO_NAME))

    @property
    def tag_pad(self) -> int:
        """The number over the tag, with its sign."""
        return self.sign * int.from_bytes(derive(self._secret, _TAG_LABEL, *self._context, _NO_NAME), "big")


class RingRound:
    """What all masks of a round are derived for.

    Args:
        transcript: T.
        number: the round.
        ring_digest: H(R), 32 bytes: the digest of the announcement.
        sites: all sites of the job in roster order, which gives the signs.
    """

    def __init__(self, transcript: bytes, number: int, ring_digest: bytes, sites: tuple[str, ...]) -> None:
        self._transcript, self._number, self._ring_digest, self._sites = transcript, number, ring_digest, sites

    def self_mask(self, secret: bytes, site: str) -> Mask:
        """Return the mask of a site's own secret b."""
        return self._mask(_SELF_LABEL, secret, site, 1)

    def pair_mask(self, private: X25519PrivateKey, site: str, peer: str, peer_public: bytes) -> Mask:
        """Return the mask of two sites, with the sign that it has at the first one.

        Args:
            private: the mask key of `site`.
            peer_public: the mask key of `peer`, 32 bytes.

        Raises:
            ProtocolError: the peer's key makes no secret.
        """
        first, second = sorted((site, peer), key=self._sites.index)
        secret = shared_secret(private, peer_public, f"mask key of {peer}")
        return self._mask(_PAIR_LABEL, secret, first, 1 if site == first else -1, second.encode())

    def _mask(self, label: bytes, secret: bytes, site: str, sign: int, *parts: bytes) -> Mask:
        """Derive a mask for this round and ring."""
        derived = derive(secret, label, self._transcript, self._number, site, self._ring_digest, *parts)
        return Mask(derived, self._transcript, self._number, sign)


class Masker:
    """Adds masks to a vector of words, from its first word to its last.

    Args:
        masks: each is added or subtracted as its sign says.
        dtype: type of a word.
        modulus: what words are added modulo; None for the size of a word. Else p of the tag, and words below it.
    """

    def __init__(self, masks: Sequence[Mask], dtype: np.dtype[np.unsignedinteger], modulus: int | None = None) -> None:
        operations = (np.add, np.subtract) if modulus is None else (_add_residues, _subtract_residues)
        self._streams = [(mask.stream(), operations[mask.sign < 0]) for mask in masks]
        self._block = np.empty(_BLOCK_WORDS, dtype=dtype)

    def apply(self, words: Words) -> None:
        """Mask the next words in place.

        Args:
            words: contiguous, of the masker's type.
        """
        for start in range(0, words.size, _BLOCK_WORDS):
            part = words[start : start + _BLOCK_WORDS]
            block = self._block[: part.size]
            data = block.view(np.uint8)
            for stream, operation in self._streams:
                stream.fill(data)
                operation(part, block, out=part)


def _add_residues(part: Words, block: Words, out: Words) -> None:
    """Add the residues that keystream words are: their low 61 bits, where p stands for 0."""
    np.bitwise_and(block, _PRIME, out=block)
    np.add(part, block, out=out)
    np.remainder(out, _PRIME, out=out)


def _subtract_residues(part: Words, block: Words, out: Words) -> None:
    """Subtract what `_add_residues` adds."""
    np.bitwise_and(block, _PRIME, out=block)
    np.subtract(_PRIME, block, out=block)
    np.add(part, block, out=out)
    np.remainder(out, _PRIME, out=out)


def mask_tag(tag: int, masks: Iterable[Mask]) -> int:
    """Return a tag under masks, in [0, p)."""
    return (tag + sum(mask.tag_pad for mask in masks)) % PRIME
