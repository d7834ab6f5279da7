"""Encryption and decryption of slots, chunk by chunk, as SEAL does it.

A fresh ciphertext of slots m is SEAL's encryption of zero with round(q·m/t) added to c0, which is what SEAL adds for
a plaintext (within 1, and that is counted as noise). Done here for all slots at once it saves the way through lists
of Python integers. For the same reason a decrypted plaintext is read by adding it to a ciphertext and looking by how
much that has changed.

SEAL seeds each encryption with 512 bits of its own from /dev/urandom; c1 is the expansion (Blake2xb) of 64 of these
bytes that travel in its place.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import tenseal.sealapi as seal

from almoner.encryption.bfv_key import BfvKey
from almoner.encryption.bfv_parameters import COEFF_MODULUS, PLAIN_MODULUS, context
from almoner.encryption.packing import SLOTS
from almoner.encryption.seal_files import SEAL_ERRORS, Workspace
from almoner.encryption.seal_frames import frames
from almoner.errors import ProtocolError
from almoner.protection.hidden import Hidden
from almoner.protection.scheme import IntVector

Coefficients = npt.NDArray[np.uint64]

_Q = np.uint64(COEFF_MODULUS)
_C0_BYTES = 8 * SLOTS


def add_modulo(total: Coefficients, addend: Coefficients) -> None:
    """Add in place, modulo q; both have entries below q."""
    total += addend
    np.minimum(total, total - _Q, out=total)


def scale_up(slots: IntVector) -> Coefficients:
    """Return q·slots/t, rounded to an integer next to it; slots in [0, t)."""
    whole, rest = divmod(COEFF_MODULUS, PLAIN_MODULUS)
    part = slots * (rest / PLAIN_MODULUS)
    scaled = slots * whole
    scaled += np.rint(part, out=part).astype(np.int64)
    return scaled.view(np.uint64)


class BfvCipher(Hidden):
    """Encrypts and decrypts under one key, in one workspace.

    Args:
        key: the job's.
        work: where SEAL's objects pass through.

    Reference: Fan and Vercauteren, ePrint 2012/144; Brakerski, ePrint 2012/078.
    """

    def __init__(self, key: BfvKey, work: Workspace) -> None:
        secret = key.load(work)
        self._encryptor = seal.Encryptor(context(), secret)
        self._decryptor = seal.Decryptor(context(), secret)
        self._evaluator = seal.Evaluator(context())
        self._work = work

    def encrypt(self, scaled: Coefficients) -> tuple[Coefficients, bytes]:
        """Return c0 and the seed of c1.

        Args:
            scaled: uint64[SLOTS], what `scale_up` returned for a chunk. It becomes c0.
        """
        body = frames().fresh.strip(self._work.save(self._encryptor.encrypt_zero_symmetric()))
        add_modulo(scaled, np.frombuffer(body, dtype="<u8", count=SLOTS).astype(np.uint64, copy=False))
        return scaled, body[_C0_BYTES:]

    def decrypt(self, first: Coefficients, seeds: list[bytes]) -> IntVector:
        """Return int64[SLOTS], entries in [0, t): what the sum of ciphertexts holds.

        Args:
            first: uint64[SLOTS], the sum of their c0.
            seeds: of their c1, at least one.

        Raises:
            ProtocolError: SEAL refuses it.
        """
        total, plain = self._load(first.astype("<u8", copy=False).tobytes() + seeds[0]), seal.Plaintext()
        try:
            for seed in seeds[1:]:
                self._evaluator.add_inplace(total, self._load(bytes(_C0_BYTES) + seed))
            self._decryptor.decrypt(total, plain)
            self._evaluator.add_plain_inplace(total, plain)
        except SEAL_ERRORS as error:
            raise ProtocolError(f"ciphertext: SEAL refuses it ({error})") from error
        shifted = np.frombuffer(frames().total.strip(self._work.save(total)), dtype="<u8", count=SLOTS)
        moved = shifted.astype(np.uint64, copy=False) - first
        np.minimum(moved, moved + _Q, out=moved)
        slots: IntVector = np.rint(moved * (PLAIN_MODULUS / COEFF_MODULUS)).astype(np.int64)
        return slots

    def _load(self, body: bytes) -> Any:
        """Return a seeded ciphertext, its c1 expanded."""
        return self._work.load(seal.Ciphertext(), frames().fresh.wrap(body), "ciphertext")
