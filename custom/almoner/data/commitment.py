"""Salted commitments to a site's data files and folders: which data a decision was about, told to nobody else.

A plain digest would confirm a record to whoever knows all the others. The salt is 32 random bytes in a file of
mode 600 that never leaves the site's folder. Files are read when the site commits to them, never when a job
asks: then inode, size and times of change, of a file or of each file of a folder, are compared with those at the
commitment, and nothing is opened. Whoever owns a file can set its time of modification, but not that of its last change
(ctime), short of setting the clock or writing to the disk itself.

Each act of committing also draws a release version at random. Stored releases are kept by it and never by content: that
the same numbers come again would otherwise tell that no record was added.
"""

import hashlib
import hmac
import secrets
from pathlib import Path

from almoner.data.atomic import write_atomically
from almoner.data.file_marks import FileMark, FolderMark, content_of, mark_of
from almoner.errors import DataError
from almoner.schema.base import Digest, Document, Model, Name, canonical_json
from almoner.schema.documents import load_document

SALT_FILE = "dataset.salt"
COMMITMENTS_FILE = "datasets.json"
SALT_BYTES = 32


class Commitment(Model):
    """A commitment, with the mark of the file or folder that was read."""

    commitment: Digest
    file: FileMark | FolderMark

    def holds(self, path: Path) -> bool:
        """Say whether a file or folder has the mark of the one that was committed to; it is not opened."""
        try:
            return mark_of(path) == self.file
        except (OSError, DataError):
            return False


class Commitments(Document):
    """The file beside the ledger that holds a site's commitments, by data set.

    Args:
        release_version: 32 random bytes, drawn anew each time; None in a file that was written before there were any.
    """

    release_version: Digest | None = None
    datasets: dict[Name, Commitment]


def site_salt(folder: Path) -> bytes:
    """Return the site's salt; the first call makes it.

    Raises:
        DataError: it is damaged, or open to other users.
    """
    path = folder / SALT_FILE
    if not path.exists():
        write_atomically(path, secrets.token_bytes(SALT_BYTES))
    salt = path.read_bytes()
    if len(salt) != SALT_BYTES or path.stat().st_mode & 0o077:
        raise DataError(f"{path}: damaged, or open to other users → chmod 600, or restore it from the backup")
    return salt


def _commit(salt: bytes, path: Path) -> Commitment:
    """Read a file or folder and commit to its bytes; refuse one that changes meanwhile."""
    mac = hmac.new(salt, digestmod=hashlib.sha256)
    try:
        before = mark_of(path)
        for chunk in content_of(path):
            mac.update(chunk)
        after = mark_of(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror} → correct the site's configuration") from None
    if before != after:
        raise DataError(f"{path}: changed while it was read → commit again once nobody writes to it")
    return Commitment(commitment=mac.hexdigest(), file=after)


def make_commitments(folder: Path, files: dict[str, Path]) -> Commitments:
    """Commit to data files without keeping it; with one salt, equal bytes have equal commitments.

    Args:
        folder: the folder of the site's ledger, where salt and commitments are kept.
        files: each data set's file or folder.

    Raises:
        DataError: one cannot be read or changes meanwhile, or the salt is open to others.
    """
    salt = site_salt(folder)
    made = {name: _commit(salt, path) for name, path in files.items()}
    return Commitments(schema_version=1, release_version=secrets.token_hex(32), datasets=made)


def keep_commitments(folder: Path, made: Commitments) -> None:
    """Write commitments to where `recorded_commitment` looks for them."""
    write_atomically(folder / COMMITMENTS_FILE, canonical_json(made) + b"\n")


def commit_datasets(folder: Path, files: dict[str, Path]) -> Commitments:
    """Commit to data files and keep it; see `make_commitments`."""
    made = make_commitments(folder, files)
    keep_commitments(folder, made)
    return made


def recorded_commitment(folder: Path, name: str, path: Path) -> str:
    """Return the commitment to a data set, "" if there is none or the file was touched since; opens no data.

    Raises:
        DocumentError: the file of commitments is damaged.
    """
    if not (folder / COMMITMENTS_FILE).exists():
        return ""
    found = load_document(folder / COMMITMENTS_FILE, Commitments).datasets.get(name)
    return found.commitment if found is not None and found.holds(path) else ""


def recorded_release_version(folder: Path, name: str) -> str | None:
    """Return the release version of a data set, None until it is committed to.

    *Guarantee*: it is independent of the data, and neither looks at the data's file nor at its mark.

    Raises:
        DocumentError: the file of commitments is damaged.
    """
    if not (folder / COMMITMENTS_FILE).exists():
        return None
    kept = load_document(folder / COMMITMENTS_FILE, Commitments)
    return kept.release_version if name in kept.datasets else None
