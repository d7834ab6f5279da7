"""Reads files that nobody has looked at, within bounds: regular files alone, and never more than was asked for.

A compressed file of a few kilobytes expands to gigabytes, and a pipe never ends.
"""

import gzip
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from almoner.errors import DataError


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading; a link, a pipe, a device or a folder is refused and not waited for.

    Raises:
        DataError: it is not one, or cannot be opened.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise DataError("the file cannot be opened") from None
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise DataError("not a regular file")
    with os.fdopen(opened, "rb") as file:
        yield file


@contextmanager
def open_unzipped(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading; one whose name ends in `.gz` is expanded as far as it is read."""
    with open_regular(path) as file:
        if path.suffix != ".gz":
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unzipped:
            yield unzipped  # type: ignore[misc]


def read_at_most(path: Path, max_bytes: int) -> bytes:
    """Read a whole regular file.

    Raises:
        DataError: it is longer, not a regular file, or cannot be opened.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise DataError("the file is too large")
        return file.read(size)
