"""What shows that a file, or any file of a folder, was touched: told without opening it."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from almoner.errors import DataError
from almoner.schema.base import Digest, Model

_CHUNK_BYTES = 1 << 20


class FileMark(Model):
    """Which file it is, its size, when content and entry last changed."""

    inode: Annotated[int, Field(ge=0)]
    size_bytes: Annotated[int, Field(ge=0)]
    modified_ns: int
    changed_ns: int


class FolderMark(Model):
    """The SHA-256 over the names and marks of all files and folders in a folder, at any depth."""

    marks: Digest


def mark_of(path: Path) -> FileMark | FolderMark:
    """Return the mark of a file or of a folder; nothing is opened.

    Raises:
        OSError: there is nothing, or it may not be looked at.
        DataError: the folder holds a link, a pipe or a device, whose content has no mark.
    """
    if not path.is_dir():
        return _mark(path.stat())
    whole = hashlib.sha256()
    for name, found in _entries(path):
        whole.update(_heading(name, found) + b"%d %d %d\n" % (found.st_ino, found.st_mtime_ns, found.st_ctime_ns))
    return FolderMark(marks=whole.hexdigest())


def content_of(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file; or of a folder's files in the order of their names, each after its name and size.

    Folders in it are named too, empty ones among them: to who reads a series of slices, one more is not nothing.

    Raises:
        OSError, DataError: as `mark_of`.
    """
    if not path.is_dir():
        yield from _chunks(path)
        return
    for name, found in _entries(path):
        yield _heading(name, found)
        if stat.S_ISREG(found.st_mode):
            yield from _chunks(path / name)


def _mark(found: os.stat_result) -> FileMark:
    """Return a file's mark."""
    return FileMark(
        inode=found.st_ino, size_bytes=found.st_size, modified_ns=found.st_mtime_ns, changed_ns=found.st_ctime_ns
    )


def _entries(folder: Path) -> list[tuple[str, os.stat_result]]:
    """Return the files and folders in a folder, at any depth, by relative name; that of a folder ends with a slash."""
    found: list[tuple[str, os.stat_result]] = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        for name in (*names, *folders):
            path = Path(parent, name)
            entry, relative = path.lstat(), str(path.relative_to(folder))
            if not stat.S_ISREG(entry.st_mode) and not stat.S_ISDIR(entry.st_mode):
                raise DataError(f"{path}: a link, a pipe or a device → put the file itself into the folder")
            found.append((relative + "/" if stat.S_ISDIR(entry.st_mode) else relative, entry))
    return sorted(found, key=lambda item: os.fsencode(item[0]))


def _raise(error: OSError) -> None:
    raise error


def _heading(name: str, found: os.stat_result) -> bytes:
    """Return a file's name and size, or a folder's name, so that no other folder has the same bytes."""
    encoded, size = os.fsencode(name), found.st_size if stat.S_ISREG(found.st_mode) else 0
    return b"%d %b %d\n" % (len(encoded), encoded, size)


def _chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
