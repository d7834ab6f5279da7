"""The power fails at every boundary of a scripted workload: what had returned is in the book, and the book holds."""

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from faulty_vfs import Operation, RecordingVfs, disk_after_cut, in_use, read_folder, write_folder
from privacy_cases import POPULATION, TREE, account, job_id, reservation, steps

from almoner.errors import LedgerError
from almoner.privacy import ledger_file
from almoner.privacy.ledger import Entry, Ledger

SEEDS = 3
"""How many disks each boundary leaves."""


def workload(path: Path) -> Iterator[None]:
    """Use a ledger in all its ways; yield after each call that wrote has returned."""
    ledger = Ledger.open(path)
    ledger.open_account(account())
    yield
    for number in (1, 2):
        ledger.reserve(reservation(number, steps(4)))
        yield
        ledger.start(job_id(number), TREE)
        yield
        for step in steps(3):
            ledger.commit(job_id(number), step.key)
            yield
            ledger.release(job_id(number), step.key, "d" * 64)
            yield
    with closing(apsw.Connection(str(path))) as reader:  # while it stays, the write-ahead log grows
        reader.execute("SELECT count(*) FROM entries").fetchall()
        ledger.settle(job_id(1), "the job ended")
        yield
        ledger.record("remark", {"text": "x" * 9000})
        yield
        reader.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        ledger.commit(job_id(2), "train-0004")  # the log starts anew from its beginning
        yield
        reader.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        ledger.record("remark", {"text": "y" * 5000})
        yield
    ledger.abandon(job_id(2), "its process died")
    yield
    ledger.reconcile(job_id(2), "the machine lost power")
    yield


def run(folder: Path) -> tuple[dict[str, bytes], list[Operation], tuple[Entry, ...]]:
    """Run the workload on a new ledger; return the disk before it, its record, and its entries."""
    path = folder / "ledger.sqlite"
    Ledger.create(path, "cleveland")
    before = read_folder(folder)
    with in_use(RecordingVfs()) as vfs:
        for _ in workload(path):
            vfs.note("returned")
    return before, vfs.record, Ledger.open(path).entries()


def check(folder: Path, entries: tuple[Entry, ...], num_returned: int) -> None:
    """Reopen after a cut; raises AssertionError or LedgerError when anything is lost or broken."""
    ledger = Ledger.open(folder / "ledger.sqlite")
    found = ledger.entries()
    assert found == entries[: len(found)], "entries changed"
    assert 0 <= len(found) - 1 - num_returned <= 1, "what returned was lost"  # the first entry is the creation's
    report = ledger.verify()
    for state in report.accounts:
        assert state.rdp_committed <= state.rdp_spent <= state.filter.budget
        assert state.epsilon_committed <= state.filter.epsilon_cap
    ledger.open_account(account())
    ledger.reserve(reservation(9))
    ledger.start(job_id(9), TREE)
    ledger.commit(job_id(9), "train-0001")
    assert ledger.verify().num_entries >= len(found) + 3
    assert ledger.account(POPULATION).rdp_committed > 0


def cut_everywhere(folder: Path, seeds: int) -> tuple[int, list[str]]:
    """Cut at every boundary, `seeds` times; return how many cuts there were, and what was found wrong."""
    before, record, entries = run(folder / "workload")
    findings, num_cuts = [], 0
    for cut in range(len(record) + 1):
        if cut and record[cut - 1].kind == "note":
            continue  # not an operation: nothing on the disk differs
        for seed in range(seeds):
            rng = random.Random(f"{cut}-{seed}")
            files, notes = disk_after_cut(before, record, cut, rng)
            if rng.random() < 0.3:
                files["ledger.sqlite-shm"] = rng.randbytes(32_768)  # shared memory that reached the disk somehow
            write_folder(folder / "cut", files)
            num_cuts += 1
            try:
                check(folder / "cut", entries, len(notes))
            except (AssertionError, LedgerError) as error:
                findings.append(f"cut {cut}, seed {seed}: {error}")
    return num_cuts, findings


@pytest.fixture
def folder(memory_path: Path) -> Path:
    (memory_path / "workload").mkdir()
    return memory_path


@pytest.mark.threat("T-05")
def test_a_power_cut_at_any_boundary_loses_nothing_that_returned(folder: Path, record_property: object) -> None:
    num_cuts, findings = cut_everywhere(folder, SEEDS)
    record_property("ledger_cuts", num_cuts)
    print(f"ledger cuts: {num_cuts}")
    assert findings == []
    assert num_cuts >= 1000


@pytest.mark.parametrize("level", ["OFF", "NORMAL"])
def test_with_fewer_syncs_the_same_cuts_find_lost_commits(
    folder: Path, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    weaker = ledger_file.SAFETY_SETTINGS.replace("synchronous=FULL", f"synchronous={level}")
    monkeypatch.setattr(ledger_file, "SAFETY_SETTINGS", weaker)
    num_cuts, findings = cut_everywhere(folder, 1)
    print(f"ledger cuts with synchronous={level}: {num_cuts}, found: {len(findings)}")
    assert any("what returned was lost" in finding for finding in findings)
