"""Two tags over the slots of a vector, which only the sites can make, and which add as the slots do.

With tag key K (all members of the job hold it, the server does not), transcript T, plaintext modulus t:

    r_1, r_2 = PRF(K, T, round), a number for each slot        pad_1, pad_2 = PRF(K, T, round, site)
    tag_k(site) = Σ_i r_k[i] · slot_i(site) + pad_k(site)   mod t

over value slots and count. The sum of the tags of a set U of sites is the tag of their summed slots with the pads of
U. *Guarantee*: who does not hold K passes off slots that are not the sum of exactly U in that round with probability
at most 2^-87 a try, whatever linear (or other fixed) change was made under the encryption: r_k[i] is a 48-bit number
mod t, which takes no value with probability above 17/2^48, and there are two. The pads are what binds U and the round,
and what a sum scaled together with its tag lacks. It says nothing about the honesty of inputs, and is void if a site
gives K to the server.

Arithmetic: r is taken in 16-bit limbs and slots in 22-bit fields, so products of a block of 2^15 slots sum to below
2^53 and float64 is exact, in any order.

Reference: Wegman and Carter, JCSS 22(3), 1981.
"""

import numpy as np
import numpy.typing as npt

from almoner.encryption.bfv_parameters import PLAIN_MODULUS
from almoner.encryption.packing import BLOCK_CHUNKS, FIELD_BITS, NUM_TAGS, SLOTS
from almoner.protection.boxes import derive
from almoner.protection.hidden import Hidden
from almoner.protection.scheme import IntVector
from almoner.protection.stream import Stream

_LIMB_BITS = 16
_LIMBS = 3
_PAD_BYTES = 16
_FACTORS_LABEL = b"almoner-he-tag-1"
_PADS_LABEL = b"almoner-he-pad-1"


class SlotTags(Hidden):
    """The tags of one vector in one round, taken in block by block and in order.

    Args:
        tag_key: K.
        transcript: T.
        number: the round.
    """

    def __init__(self, tag_key: bytes, transcript: bytes, number: int) -> None:
        self._stream = Stream(derive(tag_key, _FACTORS_LABEL, transcript, number, ""))
        self._bytes = np.empty((BLOCK_CHUNKS * SLOTS, NUM_TAGS * _LIMBS), dtype="<u2")
        self._factors = np.empty(self._bytes.shape)
        self._fields = np.empty((2, BLOCK_CHUNKS * SLOTS))
        self._sums = [0] * NUM_TAGS

    def absorb(self, fields: IntVector) -> None:
        """Take in the next block.

        Args:
            fields: int64[2, slots], at most BLOCK_CHUNKS * SLOTS, entries in [0, 2^22).
        """
        size = fields.shape[1]
        drawn, factors, entries = self._bytes[:size], self._factors[:size], self._fields[:, :size]
        self._stream.fill(drawn.reshape(-1).view(np.uint8))
        np.copyto(factors, drawn)
        np.copyto(entries, fields)
        products = (entries @ factors).astype(np.int64)
        low, high = products.reshape(2, NUM_TAGS, _LIMBS).tolist()
        for tag in range(NUM_TAGS):
            for limb in range(_LIMBS):
                product = low[tag][limb] + (high[tag][limb] << FIELD_BITS)
                self._sums[tag] += product << (_LIMB_BITS * limb)

    def values(self, pads: IntVector) -> IntVector:
        """Return the tags of what was taken in: int64[2], entries in [0, t).

        Args:
            pads: int64[2], the sum of the pads mod t.
        """
        return np.array(
            [(total + pad) % PLAIN_MODULUS for total, pad in zip(self._sums, pads.tolist(), strict=True)],
            dtype=np.int64,
        )


def pads(tag_key: bytes, transcript: bytes, number: int, sites: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Return the sum of the sites' pads in a round: int64[2], entries in [0, t)."""
    total = np.zeros(NUM_TAGS, dtype=np.int64)
    for site in sites:
        drawn = derive(tag_key, _PADS_LABEL, transcript, number, site)
        for tag in range(NUM_TAGS):
            pad = int.from_bytes(drawn[tag * _PAD_BYTES : (tag + 1) * _PAD_BYTES], "little")
            total[tag] = (int(total[tag]) + pad) % PLAIN_MODULUS
    return total
