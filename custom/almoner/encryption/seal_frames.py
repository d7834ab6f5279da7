"""The bytes of SEAL objects that travel, and the constant ones around them that do not.

A saved object is constant bytes around variable ones: coefficients, and the seed of a fresh
ciphertext. Messages carry the variable ones only, and `Frame` puts the constant ones back. So no peer
can name other parameters, sizes or a compression to SEAL; what is left for it to check is that every
coefficient is below the modulus.
"""

from dataclasses import dataclass
from functools import lru_cache

import tenseal.sealapi as seal

from almoner.encryption.bfv_parameters import POLY_MODULUS_DEGREE, context
from almoner.encryption.seal_files import Workspace
from almoner.errors import ProtocolError

_POLY_BYTES = POLY_MODULUS_DEGREE * 8
_SEED_BYTES = 64
_SEED_INFO_BYTES = 17
_BLAKE2XB = 1
_REMEDY = "install tenseal 0.3.18 from PyPI"


@dataclass(frozen=True)
class Frame:
    """The constant bytes of one kind of saved object: head, then coefficients, then perhaps a seed.

    Args:
        head: constant bytes before the coefficients.
        coefficient_bytes: length of the coefficients.
        seed_info: constant bytes before the seed; empty if there is no seed.
    """

    head: bytes
    coefficient_bytes: int
    seed_info: bytes

    @property
    def body_bytes(self) -> int:
        """Length of the variable bytes."""
        return self.coefficient_bytes + (_SEED_BYTES if self.seed_info else 0)

    def strip(self, saved: bytes) -> bytes:
        """Return the variable bytes of a saved object.

        Raises:
            ProtocolError: the constant bytes are not the expected ones.
        """
        start = len(self.head)
        middle = start + self.coefficient_bytes
        rest = middle + len(self.seed_info)
        fits = len(saved) == start + self.body_bytes + len(self.seed_info)
        if not fits or not saved.startswith(self.head) or saved[middle:rest] != self.seed_info:
            raise ProtocolError(f"SEAL saved an object of an unexpected form: {_REMEDY}")
        return saved[start:middle] + saved[rest:]

    def wrap(self, body: bytes) -> bytes:
        """Return a whole saved object around variable bytes."""
        return self.head + body[: self.coefficient_bytes] + self.seed_info + body[self.coefficient_bytes :]


@dataclass(frozen=True)
class Frames:
    """The frames of a fresh (seeded) ciphertext, a sum of ciphertexts, and a secret key."""

    fresh: Frame
    total: Frame
    key: Frame


@lru_cache(maxsize=1)
def frames() -> Frames:
    """Return the frames of the fixed parameters, learned from objects under a key thrown away.

    Raises:
        ProtocolError: this build of SEAL expands seeds with another generator than Blake2xb.
    """
    key = seal.KeyGenerator(context()).secret_key()
    fresh = seal.Encryptor(context(), key).encrypt_zero_symmetric()
    with Workspace() as work:
        saved = work.save(fresh)
        total = work.save(work.load(seal.Ciphertext(), saved, "a ciphertext of our own"))
        secret = work.save(key)
    tail = _SEED_INFO_BYTES + _SEED_BYTES
    if saved[-_SEED_BYTES - 1] != _BLAKE2XB:
        raise ProtocolError(f"SEAL expands seeds with generator {saved[-_SEED_BYTES - 1]}, not Blake2xb: {_REMEDY}")
    return Frames(
        fresh=Frame(saved[: -_POLY_BYTES - tail], _POLY_BYTES, saved[-tail:-_SEED_BYTES]),
        total=Frame(total[: -2 * _POLY_BYTES], 2 * _POLY_BYTES, b""),
        key=Frame(secret[:-_POLY_BYTES], _POLY_BYTES, b""),
    )
