"""Homomorphic aggregation: sites send BFV ciphertexts, the server adds what it cannot read.

Every message holds, for each 8,192 entries, one ciphertext under fresh randomness (SEAL seeds each
encryption with 512 bits from /dev/urandom): the coefficients of c0 and the 64-byte seed of c1. A total
holds both polynomials. No context, parameters or keys travel.

What this is worth, and what not:

- The server is taken to be *semi-honest*: it does its part and is curious.
- All sites share one key: a server with one colluding site reads each site's message.
- There are no integrity tags. A lying server can hand a forged aggregate (0, Δ) to an honest
  decryptor, and what that opens to is a part of the secret key (key recovery from BFV-like schemes: Chenal
  and Tang, ePrint 2014/535). `open` refuses most such totals because their slots are out of range, but
  not all, and the refusal itself answers a question about the key. Tags come with secure aggregation.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tenseal.sealapi as seal

from almoner.encryption.bfv_key import BfvKey
from almoner.encryption.bfv_parameters import context, parameters_id
from almoner.encryption.packing import num_chunks, pack, unpack
from almoner.encryption.scheme import ProtectionScheme
from almoner.encryption.seal_files import Workspace
from almoner.encryption.seal_frames import Frame, frames
from almoner.errors import ProtocolError
from almoner.protection import message
from almoner.protection.message import Header, Kind, SchemeId
from almoner.protection.scheme import IntVector, check_num_addends, saturate


class BfvScheme(ProtectionScheme):
    """Adds vectors under BFV encryption.

    *Guarantee*: sums of up to 50 addends are exact; a semi-honest server without a colluding site
    learns from messages and total no more than their number and length.

    Args:
        dimension: entries d of every vector.
        key: the sites' secret key; None at the server.

    Reference: Fan and Vercauteren, ePrint 2012/144; Brakerski, ePrint 2012/078.
    """

    def __init__(self, dimension: int, key: BfvKey | None) -> None:
        super().__init__(dimension)
        self._key = _load_key(key) if key is not None else None

    @classmethod
    def for_server(cls, dimension: int) -> "BfvScheme":
        """Return the side that can only combine."""
        return cls(dimension, None)

    @classmethod
    def for_site(cls, dimension: int, key: BfvKey) -> "BfvScheme":
        """Return the side that protects and opens."""
        return cls(dimension, key)

    @property
    def message_bytes(self) -> int:
        """Length of every message: about 4.01 bytes an entry for large d."""
        return message.HEADER_BYTES + self._payload_bytes(Kind.ADDEND)

    @property
    def total_bytes(self) -> int:
        """Length of every total: about 8 bytes an entry for large d."""
        return message.HEADER_BYTES + self._payload_bytes(Kind.TOTAL)

    def protect(self, values: IntVector) -> bytes:
        """Return the saturated values, encrypted."""
        encryptor = seal.Encryptor(context(), self._secret())
        encoder = seal.BatchEncoder(context())
        chunks = []
        with Workspace() as work:
            for slots in pack(saturate(values, self.dimension)):
                plain = seal.Plaintext()
                encoder.encode(slots.tolist(), plain)
                chunks.append(frames().fresh.strip(work.save(encryptor.encrypt_symmetric(plain))))
        return message.join(self._header(Kind.ADDEND, 1), b"".join(chunks))

    def combine(self, messages: Sequence[bytes]) -> bytes:
        """Return the encrypted total of the sites' messages."""
        count = check_num_addends(len(messages), "combine")
        names = [f"combine: message {index} of {count}" for index in range(1, count + 1)]
        header = self._header(Kind.ADDEND, 1)
        payloads = [message.split(data, header, name) for data, name in zip(messages, names, strict=True)]
        evaluator = seal.Evaluator(context())
        chunks = []
        with Workspace() as work:
            for index in range(num_chunks(self.dimension)):
                loaded = (
                    _load_chunk(work, frames().fresh, payload, index, name)
                    for payload, name in zip(payloads, names, strict=True)
                )
                total = next(loaded)
                for addend in loaded:
                    evaluator.add_inplace(total, addend)
                chunks.append(frames().total.strip(work.save(total)))
        return message.join(self._header(Kind.TOTAL, count), b"".join(chunks))

    def open(self, total: bytes, num_addends: int) -> IntVector:
        """Return the sum that an encrypted total holds."""
        secret = self._secret()
        count = check_num_addends(num_addends, "open")
        payload = message.split(total, self._header(Kind.TOTAL, count), "open: total")
        decryptor = seal.Decryptor(context(), secret)
        encoder = seal.BatchEncoder(context())
        rows = []
        with Workspace() as work:
            for index in range(num_chunks(self.dimension)):
                plain = seal.Plaintext()
                decryptor.decrypt(_load_chunk(work, frames().total, payload, index, "open: total"), plain)
                rows.append(np.array(encoder.decode_uint64(plain), dtype=np.int64))
        return unpack(np.stack(rows), self.dimension, count)

    def _secret(self) -> Any:
        """Return the loaded key."""
        if self._key is None:
            raise ProtocolError("this side holds no key, it can only combine: use BfvScheme.for_site")
        return self._key

    def _payload_bytes(self, kind: Kind) -> int:
        """Return the length of a payload."""
        return num_chunks(self.dimension) * _frame(kind).body_bytes

    def _header(self, kind: Kind, num_addends: int) -> Header:
        """Return the header that a message of this scheme has."""
        size = self._payload_bytes(kind)
        return Header(SchemeId.BFV, kind, num_addends, self.dimension, size, parameters_id())


def _frame(kind: Kind) -> Frame:
    """Return the frame of a kind of ciphertext."""
    return frames().fresh if kind is Kind.ADDEND else frames().total


def _load_key(key: BfvKey) -> Any:
    """Return a key as SEAL's object."""
    with Workspace() as work:
        return work.load(seal.SecretKey(), key.saved(), "key")


def _load_chunk(work: Workspace, frame: Frame, payload: memoryview, index: int, where: str) -> Any:
    """Return one ciphertext of a payload."""
    body = bytes(payload[index * frame.body_bytes : (index + 1) * frame.body_bytes])
    return work.load(seal.Ciphertext(), frame.wrap(body), where)
