"""The two messages of an encrypted sum, after the frame's header.

An addend: c0 of every chunk (4096 coefficients of 8 bytes), then for every chunk the 64-byte seed of c1.
A total: the sum of the c0 of every chunk, then the seeds of each site of the job in roster order, zeros where a site
is not in the sum. The sites expand the seeds when they open it. So a total is half as long as with c1, adding is
adding integers, and a server cannot choose c1. No context, parameters or keys travel.
Then each site's 64-byte acknowledgement of all that, in roster order, zeros where there is none.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from almoner.encryption.bfv_cipher import Coefficients, add_modulo
from almoner.encryption.bfv_parameters import COEFF_MODULUS, parameters_id
from almoner.encryption.packing import BLOCK_CHUNKS, SLOTS, Layout
from almoner.errors import ProtocolError
from almoner.protection.message import HEADER_BYTES, Header, Kind, SchemeId, split
from almoner.protection.set_up import ED25519_BYTES, JobTerms, statement

SEED_BYTES = 64
_C0_BYTES = 8 * SLOTS
_CONCLUDED_LABEL = b"almoner-he-concluded-1"


def least_contributors(terms: JobTerms) -> int:
    """Return how many sites a sum needs: `min_sites`, and two that do not collude."""
    return max(terms.min_sites, terms.num_colluding_sites + 2)


def concluded(transcript: bytes, site: str) -> bytes:
    """Return what a site signs when it holds the job's key."""
    return statement(_CONCLUDED_LABEL, transcript, 0, site)


@dataclass(frozen=True)
class Encrypted:
    """What a message holds.

    Args:
        first: uint64[num_chunks, SLOTS], c0; a view of the message.
        seeds: of c1: of one site, or of each site of the job; num_chunks * SEED_BYTES bytes each.
    """

    first: Coefficients
    seeds: tuple[memoryview, ...]


@dataclass(frozen=True)
class MessageForm:
    """The form of a job's messages.

    Args:
        dimension: d.
        num_sites: n, all sites of the job.
    """

    dimension: int
    num_sites: int

    @property
    def num_chunks(self) -> int:
        """Ciphertexts of a vector."""
        return Layout(self.dimension).num_chunks

    @property
    def addend_bytes(self) -> int:
        """Length of every addend: about 4.01 bytes an entry for large d."""
        return HEADER_BYTES + self._payload_bytes(Kind.ADDEND)

    @property
    def total_bytes(self) -> int:
        """Length of every total: about 4.00 + 0.008 n bytes an entry for large d and n sites."""
        return HEADER_BYTES + self._payload_bytes(Kind.TOTAL)

    def write(
        self, kind: Kind, num_addends: int, first: Iterable[Coefficients], seeds: Iterable[bytes | memoryview]
    ) -> bytes:
        """Return a message; a total without its acknowledgements.

        Args:
            first: c0, chunk by chunk or some chunks at a time.
            seeds: of c1; asked for when `first` is at its end.
        """
        message = io.BytesIO()
        message.seek((self.addend_bytes if kind is Kind.ADDEND else self._signed_bytes) - 1)
        message.write(b"\0")  # takes the memory once
        message.seek(0)
        message.write(self._header(kind, num_addends).encode())
        for part in first:
            message.write(part.astype("<u8", copy=False).data)
        for seed in seeds:
            message.write(seed)
        return message.getvalue()

    def read_addend(self, message: bytes, where: str) -> Encrypted:
        """Return what a site's message holds.

        Raises:
            ProtocolError: its header or length differ from a message of this job, or a coefficient is not below q.
        """
        return self._read(message, self._header(Kind.ADDEND, 1), 1, where)

    def read_total(self, message: bytes, num_addends: int, where: str) -> Encrypted:
        """Return what a total holds, which must say that it has so many addends.

        Raises:
            ProtocolError: as for `read_addend`.
        """
        return self._read(message, self._header(Kind.TOTAL, num_addends), self.num_sites, where)

    def split_total(self, total: bytes) -> tuple[memoryview, list[bytes]]:
        """Return what is acknowledged of a total of the right length, and each site's acknowledgement."""
        cut = self._signed_bytes
        starts = range(cut, self.total_bytes, ED25519_BYTES)
        return memoryview(total)[:cut], [total[start : start + ED25519_BYTES] for start in starts]

    @property
    def _signed_bytes(self) -> int:
        """Length of what is acknowledged of a total."""
        return self.total_bytes - self.num_sites * ED25519_BYTES

    def _payload_bytes(self, kind: Kind) -> int:
        """Return the length of a payload."""
        if kind is Kind.ADDEND:
            return self.num_chunks * (_C0_BYTES + SEED_BYTES)
        return self.num_chunks * (_C0_BYTES + self.num_sites * SEED_BYTES) + self.num_sites * ED25519_BYTES

    def _header(self, kind: Kind, num_addends: int) -> Header:
        """Return the header that a message of this job has."""
        return Header(SchemeId.BFV, kind, num_addends, self.dimension, self._payload_bytes(kind), parameters_id())

    def _read(self, message: bytes, header: Header, num_seeds: int, where: str) -> Encrypted:
        """Return what a message with this header holds."""
        payload = split(message, header, where)
        first = np.frombuffer(payload, dtype="<u8", count=self.num_chunks * SLOTS).reshape(-1, SLOTS)
        if first.max() >= COEFF_MODULUS:
            raise ProtocolError(f"{where}: a coefficient is not below the modulus: it was not made here")
        each = self.num_chunks * SEED_BYTES
        seeds = payload[first.nbytes :]
        return Encrypted(first, tuple(seeds[start : start + each] for start in range(0, num_seeds * each, each)))


def add(addends: Sequence[Encrypted]) -> Iterator[Coefficients]:
    """Return the sum of the c0 of at least one message, some chunks at a time."""
    for start in range(0, len(addends[0].first), BLOCK_CHUNKS):
        block = slice(start, start + BLOCK_CHUNKS)
        total = addends[0].first[block].astype(np.uint64)
        for addend in addends[1:]:
            add_modulo(total, addend.first[block])
        yield total
