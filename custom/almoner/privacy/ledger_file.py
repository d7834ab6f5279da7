"""The ledger's SQLite file: how it is opened, written in one transaction, and made.

Every call opens its own connection, so a ledger can be used from any thread and process, nothing
survives a fork, and a file that was removed or replaced is noticed by the next call. SQLite's locking
needs a local file system. Files are reached through SQLite's default VFS.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw
from apsw import Connection
from pydantic import ValidationError

from almoner.errors import LedgerError
from almoner.privacy.ledger_schema import (
    APPLICATION_ID,
    ENTRIES_DDL,
    LEDGER_VERSION,
    STATE_DDL,
    expected_objects,
    objects,
)

SAFETY_SETTINGS = (
    "PRAGMA trusted_schema=OFF; PRAGMA recursive_triggers=ON; PRAGMA foreign_keys=ON; PRAGMA cell_size_check=ON;"
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON;"
)
"""A write-ahead log, a sync at each commit, and triggers that REPLACE cannot evade."""

_DRAFT_SETTINGS = "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=FULL;"
"""A file that has no name yet needs no journal beside it: a crash leaves nothing of it."""

_EXPLANATIONS = {
    apsw.SQLITE_BUSY: "is locked by another process → wait for it, or stop it",
    apsw.SQLITE_READONLY: "is read-only → give the site's account write access to the file and its folder",
    apsw.SQLITE_CANTOPEN: "cannot be opened → check the rights of the file and its folder",
    apsw.SQLITE_NOTADB: "is not an Almoner ledger → check the path, or restore the ledger from its backup",
    apsw.SQLITE_CORRUPT: "is damaged → restore the ledger from its backup",
    apsw.SQLITE_FULL: "cannot grow: the disk is full → free space, then see in `almoner ledger show` what was written",
    apsw.SQLITE_IOERR: "cannot be read or written → check the disk, then see in `almoner ledger show` what was written",
}
_PRIMARY_CODE = 0xFF
"""SQLite's extended result codes keep the primary one in their lowest byte."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn every SQLite error into a LedgerError of one line.

    Raises:
        LedgerError: for each apsw.Error inside the block, and for stored values that cannot be read back.
    """
    try:
        yield
    except apsw.Error as error:
        code = getattr(error, "extendedresult", 0) & _PRIMARY_CODE
        text = _EXPLANATIONS.get(code, f"refused an operation: {error} → run `almoner ledger verify`")
        raise LedgerError(f"{path}: the ledger {text}") from None
    except (UnicodeDecodeError, ValidationError):
        raise LedgerError(f"{path}: the ledger {_EXPLANATIONS[apsw.SQLITE_CORRUPT]}") from None


def _check_file(path: Path) -> None:
    """Refuse a missing file (a new one would forget what was spent) and one that others may touch."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        raise LedgerError(
            f"{path}: the ledger is missing → restore it from its backup; a new one would forget what was spent"
        ) from None
    if not stat.S_ISREG(mode):
        raise LedgerError(f"{path}: the ledger is not a regular file → give the path of the file itself")
    if mode & 0o077:
        raise LedgerError(f"{path}: the ledger is open to other users → chmod 600 {path.name}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise LedgerError(f"{path}: the ledger is read-only → give the site's account write access to the file")


def _file_version(path: Path, connection: Connection) -> int:
    """Return the file's version; refuses a file of another program before anything in it is changed."""
    if connection.pragma("application_id") != APPLICATION_ID:
        raise LedgerError(f"{path}: the file is not an Almoner ledger → check the path")
    return int(connection.pragma("user_version"))


def _check_version(path: Path, connection: Connection) -> None:
    """Refuse a file of another version."""
    version = _file_version(path, connection)
    if version > LEDGER_VERSION:
        raise LedgerError(f"{path}: the ledger has version {version}, newer than {LEDGER_VERSION} → update almoner")
    if 0 < version < LEDGER_VERSION:
        raise LedgerError(f"{path}: the ledger has the older version {version} → open it again, which migrates it")
    if version != LEDGER_VERSION:
        raise LedgerError(f"{path}: the ledger has the unknown version {version} → restore it from its backup")


def _check_objects(path: Path, connection: Connection) -> None:
    """Refuse a file whose tables or triggers were changed."""
    if objects(connection) != expected_objects():
        raise LedgerError(f"{path}: the ledger's tables or triggers were changed → restore it from its backup")


@contextmanager
def connected(path: Path, busy_timeout_seconds: float) -> Iterator[Connection]:
    """Open an existing file for a block; never create one. Whatever was not committed is rolled back."""
    connection = Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(int(busy_timeout_seconds * 1000))
        yield connection
    finally:
        with suppress(apsw.Error):  # the last checkpoint may fail: what was committed stays in the log
            connection.close(True)


@contextmanager
def transaction(path: Path, busy_timeout_seconds: float, write: bool) -> Iterator[Connection]:
    """Run a block in one transaction on a fresh connection.

    *Guarantee*: a writing block that ends normally is durable afterwards (WAL, synchronous=FULL); one that
    raises leaves no trace. If the disk fails in the commit itself, the error is raised and the block happened
    wholly or not at all. A reading block sees one consistent state.

    Raises:
        LedgerError: when the file is missing, locked, read-only, damaged, or not a ledger of this version.
    """
    _check_file(path)
    with translated(path), connected(path, busy_timeout_seconds) as connection:
        _check_version(path, connection)
        connection.execute(SAFETY_SETTINGS).fetchall()
        connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        _check_objects(path, connection)
        yield connection
        connection.execute("COMMIT")


def read_version(path: Path, busy_timeout_seconds: float) -> int:
    """Return the version that a ledger's file has.

    Raises:
        LedgerError: when the file is missing, open to others, or not a ledger.
    """
    _check_file(path)
    with translated(path), connected(path, busy_timeout_seconds) as connection:
        return _file_version(path, connection)


@contextmanager
def migration(path: Path, busy_timeout_seconds: float) -> Iterator[Connection]:
    """Run a block that changes the tables, in one writing transaction whose result must be of this version.

    Raises:
        LedgerError: as `transaction` does; then the file is as it was.
    """
    _check_file(path)
    with translated(path), connected(path, busy_timeout_seconds) as connection:
        connection.execute(SAFETY_SETTINGS).fetchall()
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        _check_objects(path, connection)
        connection.execute("COMMIT")


def _publish(draft: Path, path: Path, remedy: str) -> None:
    """Give a finished file its name, which must be free, and make the name durable."""
    try:
        os.link(draft, path)
        folder = os.open(path.parent, os.O_RDONLY)
    except FileExistsError:
        raise LedgerError(f"{path}: exists already → {remedy}") from None
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _draft_of(path: Path, remedy: str) -> Iterator[Path]:
    """Make an empty file, mode 600, that gets its name when the block ends normally, and goes otherwise.

    Raises:
        LedgerError: when the name is taken or the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
        yield draft
        _publish(draft, path, remedy)
    except OSError as error:
        raise LedgerError(f"{path}: the ledger cannot be created: {error.strerror} → check the folder") from None
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            draft.with_name(draft.name + suffix).unlink(missing_ok=True)


@contextmanager
def creation(path: Path) -> Iterator[Connection]:
    """Make a new ledger file, mode 600, with what the block writes; it appears whole or not at all.

    Raises:
        LedgerError: when the file exists or cannot be written.
    """
    remedy = "open it; budgets never start anew"
    with _draft_of(path, remedy) as draft, translated(path), connected(draft, 0) as connection:
        connection.execute(_DRAFT_SETTINGS).fetchall()
        connection.execute(f"BEGIN IMMEDIATE; {ENTRIES_DDL} {STATE_DDL}")
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", LEDGER_VERSION)
        yield connection
        connection.execute("COMMIT")


@contextmanager
def copy_file(source: Connection, path: Path) -> Iterator[Connection]:
    """Copy what a transaction sees into a new file, mode 600, that appears when the block has approved of it.

    Raises:
        LedgerError: when the file exists or cannot be written.
    """
    with _draft_of(path, "name a new file") as draft, translated(path), connected(draft, 0) as copy:
        copy.execute(_DRAFT_SETTINGS).fetchall()
        with copy.backup("main", source, "main") as backup:
            backup.step(-1)
        copy.execute("PRAGMA journal_mode=DELETE").fetchall()  # the copy says WAL: it shall be one file
        yield copy
