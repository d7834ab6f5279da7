"""The ledger's SQLite file: its tables, the triggers that make it append-only, and how it is opened.

Every call opens its own connection, so a ledger can be used from any thread and process, nothing
survives a fork, and a file that was removed or replaced is noticed by the next call. SQLite's locking
needs a local file system.
"""

import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path

from almoner.errors import LedgerError

APPLICATION_ID = 0x416C6D6E
LEDGER_VERSION = 1

ENTRIES_DDL = """
CREATE TABLE entries (
  seq INTEGER PRIMARY KEY, time TEXT NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL,
  previous TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER entries_extend_the_chain BEFORE INSERT ON entries
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM entries)
  OR NEW.previous IS NOT coalesce((SELECT hash FROM entries ORDER BY seq DESC LIMIT 1), printf('%064d', 0))
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_never_change BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_never_go BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
"""

STATE_DDL = """
CREATE TABLE accounts (
  population TEXT PRIMARY KEY, privacy_unit TEXT NOT NULL, neighboring_relation TEXT NOT NULL,
  epsilon_cap REAL NOT NULL, delta REAL NOT NULL, renyi_order INTEGER NOT NULL,
  rdp_spent REAL NOT NULL, rdp_committed REAL NOT NULL,
  CHECK (0 <= rdp_committed AND rdp_committed <= rdp_spent)
) STRICT;
CREATE TABLE jobs (
  job_id TEXT PRIMARY KEY, nonce TEXT NOT NULL UNIQUE,
  population TEXT NOT NULL REFERENCES accounts(population),
  envelope_digest TEXT NOT NULL, tree_digest TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('reserved', 'started', 'settled')), last_position INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_by_status ON jobs(status);
CREATE TABLE steps (
  job_id TEXT NOT NULL REFERENCES jobs(job_id), position INTEGER NOT NULL, step TEXT NOT NULL,
  events TEXT NOT NULL, charge REAL NOT NULL, committed INTEGER NOT NULL CHECK (committed IN (0, 1)),
  PRIMARY KEY (job_id, position), UNIQUE (job_id, step)
) STRICT, WITHOUT ROWID;
"""


def _objects(connection: sqlite3.Connection) -> frozenset[tuple[str, str, str | None]]:
    """Return every table, index and trigger with the text that defines it."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%'")
    return frozenset((kind, name, sql) for kind, name, sql in rows)


@lru_cache(maxsize=1)
def _expected_objects() -> frozenset[tuple[str, str, str | None]]:
    """Return what the file must hold, exactly."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(ENTRIES_DDL + STATE_DDL)
        return _objects(connection)


def _explain(path: Path, error: sqlite3.Error) -> str:
    """Turn SQLite's error into one line with a remedy."""
    name = getattr(error, "sqlite_errorname", "") or ""
    for prefix, text in (
        ("SQLITE_BUSY", "is locked by another process → wait for it, or stop it"),
        ("SQLITE_READONLY", "is read-only → give the site's account write access to the file and its folder"),
        ("SQLITE_CANTOPEN", "cannot be opened → check the rights of the file and its folder"),
        ("SQLITE_NOTADB", "is not an Almoner ledger → check the path, or restore the ledger from its backup"),
        ("SQLITE_CORRUPT", "is damaged → restore the ledger from its backup"),
        ("SQLITE_FULL", "cannot grow: the disk is full → free space; nothing was written"),
        ("SQLITE_IOERR", "cannot be read or written → check the disk"),
    ):
        if name.startswith(prefix):
            return f"{path}: the ledger {text}"
    return f"{path}: the ledger refused an operation: {error} → run `almoner ledger verify`"


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn every SQLite error into a LedgerError of one line.

    Raises:
        LedgerError: for each sqlite3.Error inside the block.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerError(_explain(path, error)) from None


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


def _check_version(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse a file of another program or version, before anything in it is changed."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id != APPLICATION_ID:
        raise LedgerError(f"{path}: the file is not an Almoner ledger → check the path")
    if version > LEDGER_VERSION:
        raise LedgerError(f"{path}: the ledger has version {version}, newer than {LEDGER_VERSION} → update almoner")
    if version < LEDGER_VERSION:
        raise LedgerError(f"{path}: the ledger has the unknown version {version} → restore it from its backup")


def _check_objects(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse a file whose tables or triggers were changed."""
    if _objects(connection) != _expected_objects():
        raise LedgerError(f"{path}: the ledger's tables or triggers were changed → restore it from its backup")


def _connect(path: Path, busy_timeout_seconds: float) -> sqlite3.Connection:
    """Open an existing file; never create one."""
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=busy_timeout_seconds)


def _make_safe(connection: sqlite3.Connection) -> None:
    """Turn every safety setting on: write-ahead log, a sync at each commit, triggers that REPLACE cannot evade."""
    connection.executescript(
        "PRAGMA trusted_schema=OFF; PRAGMA recursive_triggers=ON; PRAGMA foreign_keys=ON; PRAGMA cell_size_check=ON;"
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON;"
    )


@contextmanager
def transaction(path: Path, busy_timeout_seconds: float, write: bool) -> Iterator[sqlite3.Connection]:
    """Run a block in one transaction on a fresh connection.

    *Guarantee*: a writing block that ends normally is durable afterwards (WAL, synchronous=FULL); one that
    raises leaves no trace. A reading block sees one consistent state.

    Raises:
        LedgerError: when the file is missing, locked, read-only, damaged, or not a ledger of this version.
    """
    _check_file(path)
    with translated(path), closing(_connect(path, busy_timeout_seconds)) as connection:
        _check_version(path, connection)
        _make_safe(connection)
        connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        _check_objects(path, connection)
        yield connection
        connection.execute("COMMIT")


def _publish(draft: Path, path: Path) -> None:
    """Give a finished file its name, which must be free, and make the name durable."""
    try:
        os.link(draft, path)
        folder = os.open(path.parent, os.O_RDONLY)
    except FileExistsError:
        raise LedgerError(f"{path}: the ledger exists already → open it; budgets never start anew") from None
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def creation(path: Path) -> Iterator[sqlite3.Connection]:
    """Make a new ledger file, mode 600, with what the block writes; it appears whole or not at all.

    Raises:
        LedgerError: when the file exists or cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
        with translated(path), closing(_connect(draft, 0)) as connection:
            connection.executescript(f"PRAGMA synchronous=FULL; BEGIN IMMEDIATE; {ENTRIES_DDL} {STATE_DDL}")
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={LEDGER_VERSION}")
            yield connection
            connection.execute("COMMIT")
        _publish(draft, path)
    except OSError as error:
        raise LedgerError(f"{path}: the ledger cannot be created: {error.strerror} → check the folder") from None
    finally:
        draft.unlink(missing_ok=True)
