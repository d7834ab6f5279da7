"""Writes a file whole or not at all."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from almoner.errors import DataError


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file of mode 600, whole or not at all; missing parent folders are made.

    Guarantee: under `path` there is at any time either what was there before or all of `data`. When the
    write fails, no temporary file is left beside it (a killed process may leave one, under another name).

    Args:
        path: where the file shall be.
        data: its content.

    Raises:
        DataError: when the file system refuses (disk full, no right to write).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        finally:
            with suppress(FileNotFoundError):
                Path(name).unlink()
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror} → free space, or give another folder") from None
