"""Moves SEAL objects to and from bytes.

SEAL's Python binding saves and loads through files only. `Workspace` gives it one file in a private
folder (mode 700, random name, in memory where `/dev/shm` exists), emptied after each use. A process
killed in between leaves the file behind.
"""

import os
import secrets
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from almoner.encryption.bfv_parameters import context
from almoner.errors import ProtocolError

_SEAL_ERRORS = (RuntimeError, ValueError)
"""What the binding raises for SEAL's own exceptions."""

_MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - a private folder is made inside


class Workspace:
    """A private folder for as long as a `with` block runs."""

    def __enter__(self) -> "Workspace":
        usable = _MEMORY_FOLDER.is_dir() and os.access(_MEMORY_FOLDER, os.W_OK | os.X_OK)
        self._folder = tempfile.TemporaryDirectory(prefix=".", dir=_MEMORY_FOLDER if usable else None)
        self._file = Path(self._folder.name) / secrets.token_hex(16)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._folder.cleanup()

    def save(self, item: Any) -> bytes:
        """Return what SEAL saves for an object.

        Raises:
            ProtocolError: SEAL could not write.
        """
        try:
            item.save(str(self._file))
            return self._file.read_bytes()
        except (*_SEAL_ERRORS, OSError) as error:
            raise ProtocolError(f"SEAL cannot write to {self._folder.name}: free some space there") from error
        finally:
            self._file.unlink(missing_ok=True)

    def load(self, item: Any, data: bytes, where: str) -> Any:
        """Return the object after SEAL has filled it from bytes.

        Args:
            item: an empty ciphertext or key.
            data: a whole saved object.
            where: what the bytes are, for the error.

        Raises:
            ProtocolError: SEAL refuses the bytes, or they cannot be written.
        """
        try:
            self._file.write_bytes(data)
            item.load(context(), str(self._file))
        except _SEAL_ERRORS as error:
            raise ProtocolError(f"{where}: SEAL refuses it ({error}): send it again") from error
        except OSError as error:
            raise ProtocolError(f"{where}: cannot be written to {self._folder.name}: free some space there") from error
        finally:
            self._file.unlink(missing_ok=True)
        return item
