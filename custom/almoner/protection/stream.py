"""Long pseudorandom streams: AES-256 in counter mode, written block by block into buffers of the caller.

The keystream is taken from OpenSSL's GCM, whose encryption is counter mode and which is up to twice as fast as
OpenSSL's CTR where the processor has wide AES instructions. With a nonce of 96 zero bits, GCM keeps counter 1 for the
tag, which nobody asks for here, and encrypts from counter 2.
"""

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from almoner.errors import ProtocolError
from almoner.protection.hidden import Hidden

KEY_BYTES = 32
BLOCK_BYTES = 1 << 17
"""How much is encrypted at once: it stays in the processor's cache."""

_ZEROS = memoryview(bytes(BLOCK_BYTES))


class Stream(Hidden):
    """The stream of one key, from its beginning.

    *Guarantee*: the bytes depend on the key and their position alone, not on the lengths that they are asked in.
    A key makes one stream: the counter starts at 2, so the same key gives the same bytes. 64 GiB at most.

    Args:
        key: 32 bytes, used for nothing else.

    Raises:
        ProtocolError: the key has another length.

    Reference: NIST SP 800-38A, 6.5; NIST SP 800-38D, 7.1.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ProtocolError(f"a stream's key has {len(key)} bytes, expected {KEY_BYTES}: report this")
        self._cipher = Cipher(algorithms.AES(key), modes.GCM(bytes(12))).encryptor()

    def fill(self, buffer: npt.NDArray[np.uint8]) -> None:
        """Write the next bytes of the stream.

        Args:
            buffer: contiguous uint8[m]; all of it is written.
        """
        view = buffer.data
        for start in range(0, len(view), BLOCK_BYTES):
            block = view[start : start + BLOCK_BYTES]
            self._cipher.update_into(_ZEROS[: len(block)], block)
