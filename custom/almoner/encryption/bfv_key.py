"""The secret key that the sites of a consortium share, and that the server never gets."""

from typing import NoReturn

import tenseal.sealapi as seal

from almoner.encryption.bfv_parameters import context, parameters_id
from almoner.encryption.seal_files import Workspace
from almoner.encryption.seal_frames import frames
from almoner.errors import ProtocolError

_MAGIC = b"ALMKBFV\x01"


class BfvKey:
    """A BFV secret key with the name of its parameters.

    Reading one cannot tell a wrong key from a right one; `open` finds out. Neither printing nor
    pickling gives the key away; write `to_bytes` to a file with mode 600, and nowhere else.

    Args:
        saved: the secret key as SEAL saves it.
    """

    __slots__ = ("_saved",)

    def __init__(self, saved: bytes) -> None:
        self._saved = saved

    def __repr__(self) -> str:
        return "BfvKey(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a BfvKey is not pickled: use to_bytes() and a file with mode 600")

    @classmethod
    def generate(cls) -> "BfvKey":
        """Return a new key, its randomness from the operating system (SEAL reads /dev/urandom)."""
        with Workspace() as work:
            return cls(work.save(seal.KeyGenerator(context()).secret_key()))

    def to_bytes(self) -> bytes:
        """Return the key for storage: magic with version, parameters, then the secret."""
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
            raise ProtocolError("key: not a BFV key of this version: take the one from the site's kit")
        if data[len(_MAGIC) : start] != parameters_id():
            raise ProtocolError("key: made for other parameters: all sites must run the same release")
        if len(data) != start + frame.body_bytes:
            raise ProtocolError("key: wrong length, it is cut or padded: take the one from the site's kit")
        saved = frame.wrap(data[start:])
        with Workspace() as work:
            work.load(seal.SecretKey(), saved, "key")
        return cls(saved)

    def saved(self) -> bytes:
        """Return the key as SEAL saves it."""
        return self._saved
