"""A ledger of version 1, as the first release wrote it, becomes one of this version when it is opened."""

import multiprocessing
import random
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from faulty_vfs import RecordingVfs, disk_after_cut, in_use, read_folder, write_folder
from privacy_cases import POPULATION, job_id, reservation

from almoner.errors import LedgerError
from almoner.privacy.ledger import Ledger

DUMP = Path(__file__).parents[2] / "vectors" / "privacy" / "ledger_v1.sql"
V1_HEAD = "8f1fe83659bea921f6a6c492373e4b68d1b486d795208d81ee36f27dd90627d5"


@pytest.fixture
def old(memory_path: Path) -> Path:
    """The golden ledger of version 1: job 1 settled, job 2 started, job 3 reserved."""
    path = memory_path / "ledger.sqlite"
    path.unlink(missing_ok=True)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(DUMP.read_text())
    path.chmod(0o600)
    return path


def version_of(path: Path) -> int:
    with closing(apsw.Connection(str(path))) as connection:
        return connection.pragma("user_version")


def test_the_golden_ledger_is_migrated_and_used_on(old: Path) -> None:
    with closing(apsw.Connection(str(old))) as connection:
        before = connection.execute("SELECT * FROM entries ORDER BY seq").fetchall()
        spent = connection.execute("SELECT population, rdp_spent, rdp_committed FROM accounts ORDER BY 1").fetchall()
    assert before[-1][-1] == V1_HEAD
    book = Ledger.open(old)
    entries = book.entries()
    assert [tuple(vars(entry).values()) for entry in entries[:-1]] == before
    assert (entries[-1].kind, entries[-1].payload) == ("migrated", '{"from_version":1,"to_version":2}')
    assert [(state.population, state.rdp_spent, state.rdp_committed) for state in book.accounts()] == spent
    assert [book.job(job_id(n)).status for n in (1, 2, 3)] == ["settled", "started", "reserved"]
    assert book.committed(job_id(2), "train-0001")
    assert book.verify().accounts == book.accounts()
    book.release(job_id(2), "train-0001", "d" * 64)
    book.commit(job_id(2), "accuracy")
    book.reserve(reservation(4))
    book.verify()
    head = Ledger.open(old).head()
    assert Ledger.open(old).head() == head  # once


def test_a_damaged_old_ledger_is_not_migrated(old: Path) -> None:
    for statement in ("UPDATE accounts SET rdp_spent = 0.0, rdp_committed = 0.0", "DROP TRIGGER entries_never_go"):
        content = old.read_bytes()
        with closing(apsw.Connection(str(old))) as connection:
            connection.execute(statement)
        with pytest.raises(LedgerError, match=r"does not follow|were changed"):
            Ledger.open(old)
        assert version_of(old) == 1
        old.write_bytes(content)
    Ledger.open(old)


def test_an_old_file_is_not_used_by_who_opened_it_before(ledger: Ledger, old: Path) -> None:
    with pytest.raises(LedgerError, match="older version 1 → open it again"):
        ledger.reserve(reservation(1))  # the fixture `old` was put in the place of this ledger's file


def test_a_power_cut_in_a_migration_leaves_the_old_ledger_or_the_new(old: Path, memory_path: Path) -> None:
    before, folder = read_folder(memory_path), memory_path / "cut"
    with in_use(RecordingVfs()) as vfs:
        Ledger.open(old)
    entries, found = Ledger.open(old).entries(), set()
    for cut in range(len(vfs.record) + 1):
        for seed in range(4):
            files, _ = disk_after_cut(before, vfs.record, cut, random.Random(f"{cut}-{seed}"))
            write_folder(folder, files)
            found.add(version_of(folder / "ledger.sqlite"))
            book = Ledger.open(folder / "ledger.sqlite")
            assert book.entries()[:-1] == entries[:-1]
            assert len(book.entries()) == len(entries)
            book.verify()
    assert found == {1, 2}
    print(f"ledger cuts in a migration: {4 * (len(vfs.record) + 1)}")


def _open(path: Path) -> None:
    Ledger.open(path).verify()


def test_processes_that_open_an_old_ledger_at_once_migrate_it_once(old: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_open, args=(old,)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert [entry.kind for entry in Ledger.open(old).entries()].count("migrated") == 1
    assert Ledger.open(old).account(POPULATION).rdp_spent > 0
