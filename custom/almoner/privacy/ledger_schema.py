"""The tables of the ledger's SQLite file, and the triggers that make its entries append-only."""

from contextlib import closing
from functools import lru_cache

from apsw import Connection

APPLICATION_ID = 0x416C6D6E
LEDGER_VERSION = 2
"""2 added releases, abandoned jobs and their reconciliation. `ledger_migration` makes a 2 of a 1."""

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
  status TEXT NOT NULL CHECK (status IN ('reserved', 'started', 'abandoned', 'settled')),
  last_position INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_by_status ON jobs(status);
CREATE TABLE steps (
  job_id TEXT NOT NULL REFERENCES jobs(job_id), position INTEGER NOT NULL, step TEXT NOT NULL,
  events TEXT NOT NULL, charge REAL NOT NULL, committed INTEGER NOT NULL CHECK (committed IN (0, 1)),
  released TEXT CHECK (released IS NULL OR committed = 1),
  PRIMARY KEY (job_id, position), UNIQUE (job_id, step)
) STRICT, WITHOUT ROWID;
"""


def objects(connection: Connection) -> frozenset[tuple[str, str, str | None]]:
    """Return every table, index, view and trigger with the text that defines it: all, whatever it is called."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema")
    return frozenset((kind, name, sql) for kind, name, sql in rows)


@lru_cache(maxsize=1)
def expected_objects() -> frozenset[tuple[str, str, str | None]]:
    """Return what the file must hold, exactly."""
    with closing(Connection(":memory:")) as connection:
        connection.execute(ENTRIES_DDL + STATE_DDL)
        return objects(connection)
