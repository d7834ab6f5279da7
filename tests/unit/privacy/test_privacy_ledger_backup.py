"""A backup is one consistent state while others write, and never takes the place of anything."""

import multiprocessing
import stat
from pathlib import Path
from typing import Any

import pytest
from privacy_cases import TREE, gaussian, job_id, reservation, steps

from almoner.errors import LedgerError
from almoner.privacy.ledger import Ledger


def test_a_backup_is_the_ledger_and_the_owners_alone(ledger: Ledger, tmp_path: Path) -> None:
    ledger.reserve(reservation(1))
    target = tmp_path / "backup.sqlite"
    assert ledger.backup(target) == ledger.verify()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["backup.sqlite"]
    copy = Ledger.open(target)
    assert (copy.entries(), copy.accounts()) == (ledger.entries(), ledger.accounts())


def test_a_backup_overwrites_nothing(ledger: Ledger, tmp_path: Path) -> None:
    target = tmp_path / "backup.sqlite"
    target.write_text("mine")
    with pytest.raises(LedgerError, match="exists already → name a new file"):
        ledger.backup(target)
    with pytest.raises(LedgerError, match="exists already"):
        ledger.backup(ledger.path)
    with pytest.raises(LedgerError, match="cannot be created"):
        ledger.backup(tmp_path / "missing" / "backup.sqlite")
    assert target.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["backup.sqlite"]


def test_a_damaged_ledger_is_not_backed_up(ledger: Ledger, tmp_path: Path) -> None:
    for number in range(40):
        ledger.record("remark", {"text": "x" * 2000, "number": number})
    content = bytearray(ledger.path.read_bytes())
    content[len(content) // 2] ^= 1
    ledger.path.write_bytes(bytes(content))
    with pytest.raises(LedgerError, match=str(ledger.path)):
        ledger.backup(tmp_path / "backup.sqlite")
    assert list(tmp_path.iterdir()) == []


def _commit_all(path: Path, begun: Any, copied: Any) -> None:
    """Commit 200 steps, the last hundred when there is a backup."""
    book = Ledger.open(path)
    begun.set()
    for number, step in enumerate(steps(200, gaussian(100.0))):
        if number == 100:
            copied.wait()
        book.commit(job_id(1), step.key)


def test_backups_while_a_job_commits_are_states_that_the_ledger_had(ledger: Ledger, tmp_path: Path) -> None:
    ledger.reserve(reservation(1, steps(200, gaussian(100.0))))
    ledger.start(job_id(1), TREE)
    context = multiprocessing.get_context("fork")
    begun, copied = context.Event(), context.Event()
    process = context.Process(target=_commit_all, args=(ledger.path, begun, copied))
    process.start()
    begun.wait()
    copies, is_over = 0, False
    while not is_over:
        is_over = not process.is_alive()
        ledger.backup(tmp_path / f"{copies}.sqlite")
        copies += 1
        copied.set()
    process.join()
    assert process.exitcode == 0
    entries = ledger.entries()
    lengths = [len(Ledger.open(tmp_path / f"{number}.sqlite").entries()) for number in range(copies)]
    for number, length in enumerate(lengths):
        assert Ledger.open(tmp_path / f"{number}.sqlite").entries() == entries[:length]
    assert lengths == sorted(lengths)
    assert len({*lengths}) > 1  # some were made in the middle
