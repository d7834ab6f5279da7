"""Makes a ledger of the present version out of an older one, when it is opened.

The entries stay as they are; one more says that the version changed. The tables, a cache of the entries,
are made anew from them.
"""

from pathlib import Path

from almoner.privacy.ledger_chain import append_model
from almoner.privacy.ledger_entries import Migrated
from almoner.privacy.ledger_file import migration, read_version
from almoner.privacy.ledger_schema import LEDGER_VERSION, STATE_DDL
from almoner.privacy.ledger_verify import replay_chain

OLD_VERSION = 1


def migrate(path: Path, busy_timeout_seconds: float) -> None:
    """Bring a ledger to the present version; one that has it is left alone.

    *Guarantee*: the change happens wholly or not at all, once, whoever opens the file at the same time.

    Raises:
        LedgerError: when the old ledger does not verify, or for any of the reasons of `transaction`.
    """
    if read_version(path, busy_timeout_seconds) != OLD_VERSION:
        return
    with migration(path, busy_timeout_seconds) as connection:
        if connection.pragma("user_version") != OLD_VERSION:
            return  # another process was first
        replay, _ = replay_chain(connection, path, OLD_VERSION)
        connection.execute("DROP TABLE steps; DROP TABLE jobs; DROP TABLE accounts;" + STATE_DDL)
        for table, rows in replay.tables(LEDGER_VERSION).items():
            marks = ", ".join("?" * len(rows[0])) if rows else ""
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - constant names
        append_model(connection, Migrated(from_version=1, to_version=2))
        connection.pragma("user_version", LEDGER_VERSION)
