"""The disk fills up or fails at every boundary of every call: nothing is half-written, refusals say what to do."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from faulty_vfs import FailingVfs, in_use, read_folder, write_folder
from privacy_cases import TREE, account, job_id, reservation, steps

from almoner.errors import LedgerError
from almoner.privacy.ledger import Ledger

CALLS: dict[str, Callable[[Ledger], Any]] = {
    "open an account": lambda book: book.open_account(account(population="other")),
    "reserve": lambda book: book.reserve(reservation(3, steps(40))),
    "start": lambda book: book.start(job_id(2), TREE),
    "commit": lambda book: book.commit(job_id(1), "train-0002"),
    "release": lambda book: book.release(job_id(1), "train-0001", "d" * 64),
    "abandon": lambda book: book.abandon(job_id(1), "its process died"),
    "reconcile": lambda book: book.reconcile(job_id(4), "the machine lost power"),
    "settle": lambda book: book.settle(job_id(1), "the job ended"),
    "record": lambda book: book.record("remark", {"text": "x" * 9000}),
}
FAULTS = {"full": (apsw.SQLITE_FULL, "disk is full"), "broken": (apsw.SQLITE_IOERR_WRITE, "check the disk")}


def _refusal(call: Callable[[], Any]) -> str:
    """Return the text of the refusal, "" when the call returns."""
    try:
        call()
    except LedgerError as error:
        return str(error)
    return ""


@pytest.fixture
def book(ledger: Ledger) -> Ledger:
    for number in (1, 2, 4):
        ledger.reserve(reservation(number))
    for number in (1, 4):
        ledger.start(job_id(number), TREE)
    ledger.abandon(job_id(4), "its process died")
    ledger.commit(job_id(1), "train-0001")
    return ledger


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", CALLS)
def test_a_disk_that_fails_at_any_boundary_leaves_the_ledger_whole(
    book: Ledger, name: str, fault: str, lasting: bool
) -> None:
    code, text = FAULTS[fault]
    files, before = read_folder(book.path.parent), book.entries()
    refused = 0
    for at in itertools.count():
        write_folder(book.path.parent, files)
        with in_use(FailingVfs(code, at, lasting)) as vfs:
            refusal = _refusal(lambda: CALLS[name](book))
        refused += bool(refusal)
        assert not refusal or (text in refusal and "\n" not in refusal)
        entries = book.entries()
        assert entries[: len(before)] == before
        written = len(entries) - len(before)
        # a commit mark whose sync failed on a disk that then stays broken is found by the next who reads the log
        assert written == (0 if refusal else 1) or (lasting and written == 1)
        book.verify()
        if vfs.seen <= at:
            break  # the call made fewer changes than that: every boundary was tried
    print(f"ledger {name}, disk {fault} {'for good' if lasting else 'once'}: {at} boundaries, {refused} refusals")
    assert not refusal
    assert refused >= 3


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_while_a_ledger_is_made_leaves_no_ledger(memory_path: Path, fault: str) -> None:
    code, text = FAULTS[fault]
    path = memory_path / "ledger.sqlite"
    for at in itertools.count():
        with in_use(FailingVfs(code, at, True)) as vfs:
            refusal = _refusal(lambda: Ledger.create(path, "cleveland"))
        if not refusal:
            break
        assert text in refusal
        assert list(memory_path.iterdir()) == []
        assert vfs.seen > at
    assert at > 5
    assert Ledger.open(path).verify().num_entries == 1
