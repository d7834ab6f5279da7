"""A tag with which every site verifies the sum: arithmetic modulo the prime p = 2^61 - 1.

All sites share K_tag, the server does not have it. Each round has a secret vector r = PRF(K_tag, round). A site's tag
of its values x is ⟨r, x⟩ + pad(round, site) mod p, over the integers themselves and not over words that wrap. The
tags of a set of sites add up to ⟨r, Σ x⟩ plus their pads. A server that changes the sum by Δ ≠ 0 must change the tag
by ⟨r, Δ⟩, which it does not know; the pads bind the set, so that sum and tag cannot be scaled or repeated together.

r is a grid: entry i of row j is ρ^j · r_i, with 8192 secret r_i and a secret ρ. So one round's r is 64 KiB for any
number of values. A change of a vector of m rows, however few entries it touches, passes with probability at most m/p,
since it is a root of a polynomial of degree below m: 2^-54 for a million values, 2^-47 for the hundred million that
are allowed. A site gives the server one try a job.

What the tag does not do: it proves the server's arithmetic and the set, nothing about honest inputs; and it is void
once any site gives K_tag to the server. A tag in clear would tell the server with one colluding site ⟨r, x⟩ of each
other site; therefore it travels under masks of its own (`masking.py`).

Reference: Carter and Wegman, "Universal classes of hash functions", JCSS 18(2), 1979 (inner products and
polynomials); pads as in Wegman and Carter, JCSS 22(3), 1981.
"""

import numpy as np
import numpy.typing as npt

from almoner.errors import ProtocolError
from almoner.protection.boxes import derive
from almoner.protection.hidden import Hidden
from almoner.protection.modulus import MODULUS
from almoner.protection.stream import Stream
from almoner.secagg.blocks import BLOCK_VALUES

PRIME = MODULUS
TAG_BYTES = 8
ROW_VALUES = 8192
MAX_VALUE = 2**24
"""Largest absolute value of an entry: 2^24 · 2^16 · 8192 = 2^53, so that sums of products are exact in float64."""

_LIMBS = 4
_LIMB_BITS = 16
_PARTS = 3
_PART_BITS = 21
_VECTOR_LABEL = b"almoner-secagg-tag-vector-1"
_PAD_LABEL = b"almoner-secagg-tag-pad-1"


class RoundTag(Hidden):
    """One round's secret vector and pads.

    Args:
        tag_key: K_tag, 32 bytes.
        transcript: T.
        number: the round.
    """

    def __init__(self, tag_key: bytes, transcript: bytes, number: int) -> None:
        self._key, self._transcript, self._number = tag_key, transcript, number
        words = np.empty(ROW_VALUES + 1, dtype="<u8")
        Stream(derive(tag_key, _VECTOR_LABEL, transcript, number, "")).fill(words.view(np.uint8))
        words >>= np.uint64(3)
        self._step = int(words[0]) % PRIME
        limbs = [(words[1:] >> np.uint64(_LIMB_BITS * k)) & np.uint64(0xFFFF) for k in range(_LIMBS)]
        self._limbs = np.stack(limbs).astype(np.float64).T

    def pad(self, site: str) -> int:
        """Return the number that binds a site's tag to this round and site, in [0, p)."""
        return int.from_bytes(derive(self._key, _PAD_LABEL, self._transcript, self._number, site), "big") % PRIME

    def running(self, bound: int | None) -> "RunningTag | WideTag":
        """Return a tag of no values yet, without a pad.

        Args:
            bound: the caller sees to it that no entry's absolute value is larger; None for residues modulo p.

        Raises:
            ProtocolError: the bound is too large for exact arithmetic.
        """
        if bound is None:
            return WideTag(self._limbs, self._step)
        if bound > MAX_VALUE:
            raise ProtocolError(f"tag: entries up to ±{bound}, at most ±{MAX_VALUE} add exactly → a smaller limit")
        return RunningTag(self._limbs, self._step)


class RunningTag(Hidden):
    """⟨r, x⟩ of the values given so far, block after block."""

    def __init__(self, limbs: npt.NDArray[np.float64], step: int) -> None:
        self._limbs, self._step = limbs, step
        self._power, self._sum = 1, 0
        self._rows = np.zeros((BLOCK_VALUES // ROW_VALUES, ROW_VALUES))

    def add(self, values: npt.NDArray[np.integer]) -> None:
        """Take the next block.

        Args:
            values: integers[m] within the bound; m ≤ BLOCK_VALUES, and only the last block has fewer.
        """
        flat = self._rows.reshape(-1)
        flat[: values.size] = values
        num_rows = -(-values.size // ROW_VALUES)
        flat[values.size : num_rows * ROW_VALUES] = 0.0
        for parts in (self._rows[:num_rows] @ self._limbs).tolist():
            product = sum(int(part) << (_LIMB_BITS * k) for k, part in enumerate(parts))
            self._sum = (self._sum + self._power * product) % PRIME
            self._power = self._power * self._step % PRIME

    def value(self) -> int:
        """Return the tag, in [0, p)."""
        return self._sum


class WideTag(Hidden):
    """⟨r, x⟩ of values modulo p: a tag is linear, so it is that of three parts of 21 bits each."""

    def __init__(self, limbs: npt.NDArray[np.float64], step: int) -> None:
        self._parts = [RunningTag(limbs, step) for _ in range(_PARTS)]

    def add(self, values: npt.NDArray[np.integer]) -> None:
        """Take the next block; integers[m] in (-p, p), whose residues count."""
        residues = np.mod(values, PRIME)
        for place, part in enumerate(self._parts):
            part.add((residues >> (_PART_BITS * place)) & ((1 << _PART_BITS) - 1))

    def value(self) -> int:
        """Return the tag, in [0, p)."""
        return sum(part.value() << (_PART_BITS * place) for place, part in enumerate(self._parts)) % PRIME


def encode_tag(tag: int) -> bytes:
    """Return a number of [0, p) as 8 bytes, little-endian."""
    return tag.to_bytes(TAG_BYTES, "little")


def decode_tag(data: bytes, what: str) -> int:
    """Return the number that 8 bytes hold.

    Raises:
        ProtocolError: it is not in [0, p).
    """
    value = int.from_bytes(data, "little")
    if len(data) != TAG_BYTES or value >= PRIME:
        raise ProtocolError(f"{what}: not a number below 2^61 - 1")
    return value
