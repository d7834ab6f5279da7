"""Moves SEAL objects to and from bytes.

SEAL's Python binding saves and loads through files only. `Workspace` gives it one file: in memory and without a name
where the system has such files (Linux: it is gone with the process, killed or not), else in a private folder. It is
emptied after each use.
"""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from almoner.encryption.bfv_parameters import context
from almoner.errors import ProtocolError

SEAL_ERRORS = (RuntimeError, ValueError)
"""What the binding raises for SEAL's own exceptions."""


class Workspace:
    """A private file for as long as a `with` block runs."""

    def __enter__(self) -> "Workspace":
        self._closing = ExitStack()
        self._descriptor, self._path = _in_memory() if hasattr(os, "memfd_create") else self._in_folder()
        self._closing.callback(os.close, self._descriptor)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.close()

    def save(self, item: Any) -> bytes:
        """Return what SEAL saves for an object.

        Raises:
            ProtocolError: SEAL could not write.
        """
        try:
            item.save(self._path)
            return os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        except (*SEAL_ERRORS, OSError) as error:
            raise ProtocolError("SEAL cannot write its file: free some memory or space") from error
        finally:
            os.ftruncate(self._descriptor, 0)

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
            os.pwrite(self._descriptor, data, 0)
            item.load(context(), self._path)
        except SEAL_ERRORS as error:
            raise ProtocolError(f"{where}: SEAL refuses it ({error}): send it again") from error
        except OSError as error:
            raise ProtocolError(f"{where}: cannot be written for SEAL: free some memory or space") from error
        finally:
            os.ftruncate(self._descriptor, 0)
        return item

    def _in_folder(self) -> tuple[int, str]:
        """Return the descriptor and path of a file in a folder that only this user can enter."""
        folder = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="."))
        path = Path(folder) / "seal"
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), str(path)


def _in_memory() -> tuple[int, str]:
    """Return the descriptor and path of a file that has no name."""
    descriptor = os.memfd_create("seal", os.MFD_CLOEXEC)
    return descriptor, f"/proc/self/fd/{descriptor}"
