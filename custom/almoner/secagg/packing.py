"""Integers in machine words that add without a carry: as many fields as fit into 64 bits, or one of 32.

A value v in [-L, L] becomes the unsigned v + L ≤ 2L, and a field holds a sum of n of them, at most n·2L. Of fields that
need b bits, f = ⌊64/b⌋ share a word of 64 bits, each of w = ⌊64/f⌋ bits; below three each value takes a word of 32
instead. With L = 32767, three fields of 21 bits do up to n = 32; with L = 511 and n = 5, four of 16. A sum of n packed
vectors is then below the modulus of the word in every field, also modulo 2^64 or 2^32 after masks were added and taken
off.

Within a block of values, field k of word i holds value k·W + i, where W is the block's number of words: a few plain
vector operations a block. Offsets are added for all fields at once: modulo 2^64, Σ (v_k + L)·2^(wk) is Σ v_k·2^(wk)
plus a constant. Fields past the end of the vector, and the bits past the last field, are zero and stay zero.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from almoner.errors import ProtocolError
from almoner.secagg.blocks import BLOCK_VALUES

Words = npt.NDArray[np.unsignedinteger]
Int64 = npt.NDArray[np.int64]
Signed = npt.NDArray[np.signedinteger]

WORD_BITS = 64
LEAST_FIELDS = 3
"""With fewer, each value takes a word of 32 bits."""


@dataclass(frozen=True)
class Packing:
    """How one block of values becomes words, for sums of at most `num_addends` vectors within ±`limit`.

    *Guarantee*: no sum of so many vectors wraps or carries from one field into another.

    Raises:
        ProtocolError: not even a field of 32 bits holds such a sum.
    """

    num_addends: int
    limit: int

    def __post_init__(self) -> None:
        if self.num_addends < 1 or self.limit < 1 or self._largest_sum(self.num_addends) >= 2**32:
            raise ProtocolError(
                f"packing: {self.num_addends} values within ±{self.limit} could wrap 32 bits → a coarser grid"
            )

    @cached_property
    def fields(self) -> int:
        """Values of one word, f."""
        fields = WORD_BITS // self._largest_sum(self.num_addends).bit_length()
        return fields if fields >= LEAST_FIELDS else 1

    @property
    def field_bits(self) -> int:
        """Bits from one field of a word to the next, w."""
        return WORD_BITS // self.fields

    @cached_property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Type of a word, little-endian."""
        return np.dtype("<u4") if self.fields == 1 else np.dtype("<u8")

    @cached_property
    def _offset(self) -> int:
        """The limit in every field of a word."""
        return sum(self.limit << (self.field_bits * place) for place in range(self.fields))

    @property
    def modulus(self) -> int | None:
        """What words are added modulo, where it is not the size of a word."""
        return None

    def tag_bound(self, num_addends: int) -> int | None:
        """Return the largest absolute value that goes under the tag of a sum of so many."""
        return num_addends * self.limit

    def admit(self, values: npt.NDArray[np.signedinteger], out: npt.NDArray[np.signedinteger]) -> Signed:
        """Return one block's values as they are sent: beyond ±limit they saturate.

        Args:
            out: of the values' type and size; what is returned is written to it.
        """
        return np.clip(values, -self.limit, self.limit, out=out)

    def add(self, total: Words, words: Words) -> None:
        """Add words to a total in place."""
        total += words

    def num_words(self, num_values: int) -> int:
        """Return how many words so many values take; every block begins with a word of its own."""
        whole, rest = divmod(num_values, BLOCK_VALUES)
        return whole * -(-BLOCK_VALUES // self.fields) + -(-rest // self.fields)

    def num_bytes(self, dimension: int) -> int:
        """Return the length of a packed vector."""
        return self.num_words(dimension) * self.dtype.itemsize

    def words(self, block: slice) -> slice:
        """Return where the words of a block of values are in the packed vector."""
        return slice(self.num_words(block.start), self.num_words(block.stop))

    def pack(self, values: npt.NDArray[np.signedinteger], out: Words | None = None) -> Words:
        """Pack one block.

        Args:
            values: int64[m] or int32[m], m ≤ BLOCK_VALUES, within ±limit. Not modified.
            out: the words are written to its beginning; a new array unless given.
        """
        width = self.num_words(values.size)
        words = np.empty(width, dtype=self.dtype) if out is None else out[:width]
        if self.fields == 1:
            np.add(values, self.limit, out=words, casting="unsafe")
            return words
        if values.size % self.fields:
            values = np.pad(values, (0, self.fields * width - values.size), constant_values=-self.limit)
        *lower, second, top = values.reshape(self.fields, width)
        sums = words.view(np.int64)
        np.left_shift(top, self.field_bits, out=sums, dtype=np.int64)
        sums += second
        for field in reversed(lower):
            sums <<= self.field_bits
            sums += field
        sums += self._offset
        return words

    def unpack(self, words: Words, num_values: int, num_addends: int) -> Int64:
        """Return the sums that one block's words hold, each addend's offset taken off.

        Args:
            words: the sum of what `pack` returned for `num_addends` vectors.
            num_values: m of the block.
            num_addends: how many were added.

        Raises:
            ProtocolError: no sum of so many vectors gives these words.
        """
        sums, mask = np.empty(self.fields * words.size, dtype=np.uint64), np.uint64((1 << self.field_bits) - 1)
        for place, field in enumerate(sums.reshape(self.fields, words.size)):
            np.right_shift(words, self.dtype.type(place * self.field_bits), out=field)
            if place + 1 < self.fields:
                field &= mask
        if sums.max() > self._largest_sum(num_addends) or sums[num_values:].any():
            raise ProtocolError(
                "open: the total holds no sum of so many addends: masks are left in it, or it is damaged"
            )
        result = sums[:num_values].view(np.int64)
        result -= num_addends * self.limit
        return result

    def _largest_sum(self, num_addends: int) -> int:
        """Return the largest value of a field."""
        return 2 * self.limit * num_addends
