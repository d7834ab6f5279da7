"""Integers modulo the tag's prime p = 2^61 - 1, one a word of 64 bits: for sums that must wrap and never saturate.

Noise that each site adds for the total alone protects nobody if a site then clamps what it sends, or refuses to: what
is cut off would tell of the values. So a value of any size becomes its residue, masks are residues, and so are sums and
tags: what every site opens is the sum modulo p, and its tag verifies modulo p, whether or not anything wrapped. That
sums with their noise are below p/2, so that the signed residue is the sum, is the caller's affair.

A mask word is the low 61 bits of a keystream word. Its one value p stands for 0, so a masked word is within 2^-61 of
uniform.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from almoner.errors import ProtocolError
from almoner.secagg.packing import Int64, Packing, Words
from almoner.secagg.tag import PRIME

_PRIME = np.uint64(PRIME)


@dataclass(frozen=True)
class ModularPacking:
    """How one block of values becomes words; see `Packing`, whose interface this is.

    *Guarantee*: nothing saturates, and nothing is refused whatever the values are.
    """

    @property
    def fields(self) -> int:
        """Values of one word."""
        return 1

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Type of a word, little-endian."""
        return np.dtype("<u8")

    @property
    def modulus(self) -> int | None:
        """What words are added modulo."""
        return PRIME

    def num_words(self, num_values: int) -> int:
        """Return how many words so many values take."""
        return num_values

    def num_bytes(self, dimension: int) -> int:
        """Return the length of a packed vector."""
        return dimension * self.dtype.itemsize

    def words(self, block: slice) -> slice:
        """Return where the words of a block of values are in the packed vector."""
        return block

    def tag_bound(self, num_addends: int) -> int | None:
        """Return None: residues go under the tag."""
        return None

    def admit(self, values: npt.NDArray[np.signedinteger], out: npt.NDArray[np.signedinteger]) -> Int64:
        """Return the residues of one block, int64[m] in [0, p); `out` is not used."""
        return np.mod(values.astype(np.int64, copy=False), PRIME)

    def pack(self, values: npt.NDArray[np.signedinteger], out: Words | None = None) -> Words:
        """Return the words of one block of residues."""
        words = np.empty(values.size, dtype=self.dtype) if out is None else out[: values.size]
        words[:] = values
        return words

    def add(self, total: Words, words: Words) -> None:
        """Add words to a total of residues in place; words that are no residues count as theirs."""
        total += words % _PRIME
        total %= _PRIME

    def unpack(self, words: Words, num_values: int, num_addends: int) -> Int64:
        """Return the signed residues of one block's sums, int64[m] in (-p/2, p/2).

        Raises:
            ProtocolError: a word is no residue.
        """
        if words.max() >= _PRIME:
            raise ProtocolError("open: the total holds a word that is no residue: it is damaged")
        sums = words.astype(np.int64)
        sums[sums > PRIME // 2] -= PRIME
        return sums


AnyPacking = Packing | ModularPacking


def packing_of(num_sites: int, limit: int) -> AnyPacking:
    """Return how a job's values become words.

    Args:
        limit: of the job's terms; 0 for values modulo p.

    Raises:
        ProtocolError: no field holds the sum of so many values.
    """
    return ModularPacking() if limit == 0 else Packing(num_sites, limit)
