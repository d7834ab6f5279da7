"""The secret key that the sites of a job share, and that the server never gets."""

from typing import Any

import tenseal.sealapi as seal

from almoner.encryption.bfv_parameters import context, parameters_id
from almoner.encryption.packing import SLOTS
from almoner.encryption.seal_files import Workspace
from almoner.encryption.seal_frames import frames
from almoner.errors import ProtocolError
from almoner.protection.hidden import Hidden

KEY_BYTES = 8 + 16 + 8 * SLOTS
_MAGIC = b"ALMKBFV\x02"


class BfvKey(Hidden):
    """A BFV secret key with the name of its parameters.

    Reading one cannot tell a wrong key from a right one; opening a total finds out. It lives in the memory of the
    sites' job processes; `to_bytes` is for the sealed message of the site that draws it.

    Args:
        saved: the secret key as SEAL saves it.
    """

    def __init__(self, saved: bytes) -> None:
        self._saved = saved

    @classmethod
    def generate(cls) -> "BfvKey":
        """Return a new key, its randomness from the operating system (SEAL reads /dev/urandom)."""
        with Workspace() as work:
            return cls(work.save(seal.KeyGenerator(context()).secret_key()))

    def to_bytes(self) -> bytes:
        """Return KEY_BYTES bytes: magic with version, parameters, then the secret."""
        return _MAGIC + parameters_id() + frames().key.strip(self._saved)

    @classmethod
    def from_bytes(cls, data: bytes) -> "BfvKey":
        """Return the key that `to_bytes` wrote.

        Raises:
            ProtocolError: not such a key, of other parameters, or damaged so that SEAL refuses it.
        """
        start = len(_MAGIC) + len(parameters_id())
        frame = frames().key
        if not isinstance(data, bytes) or data[: len(_MAGIC)] != _MAGIC:
            raise ProtocolError("key: not a BFV key of this version: the site that drew it broke the protocol")
        if data[len(_MAGIC) : start] != parameters_id():
            raise ProtocolError("key: made for other parameters: all sites must run the same release")
        if len(data) != start + frame.body_bytes:
            raise ProtocolError("key: wrong length, it is cut or padded: the site that drew it broke the protocol")
        saved = frame.wrap(data[start:])
        with Workspace() as work:
            work.load(seal.SecretKey(), saved, "key")
        return cls(saved)

    def load(self, work: Workspace) -> Any:
        """Return the key as SEAL's object."""
        return work.load(seal.SecretKey(), self._saved, "key")
