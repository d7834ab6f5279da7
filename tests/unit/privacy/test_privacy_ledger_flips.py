"""Any byte of the ledger's files flipped: what the ledger says is the same, or it says that something is wrong."""

import random
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from faulty_vfs import read_folder, write_folder
from privacy_cases import TREE, job_id, reservation, steps

from almoner.errors import LedgerError
from almoner.privacy.ledger import Ledger, VerifyReport
from almoner.privacy.ledger_file import transaction
from almoner.privacy.ledger_verify import verify_chain

JOBS = range(1, 6)
Said = tuple[VerifyReport, dict[str, list[Any]]]


@pytest.fixture
def book(ledger: Ledger) -> Ledger:
    """Every kind of entry but a migration, and every state of a job."""
    for number in JOBS:
        ledger.reserve(reservation(number, steps(3)))
    for number in JOBS[:4]:
        ledger.start(job_id(number), TREE)
        ledger.commit(job_id(number), "train-0001")
        ledger.release(job_id(number), "train-0001", "d" * 64)
    ledger.settle(job_id(1), "the job ended")
    ledger.abandon(job_id(2), "its process died")
    ledger.abandon(job_id(3), "its process died")
    ledger.reconcile(job_id(3), "the machine lost power")
    ledger.record("decision", {"verdict": "refused"})
    return ledger


def meaning(path: Path) -> Said:
    """All that a ledger says, opened and found whole: every row of every table."""
    Ledger.open(path)
    with transaction(path, 10.0, write=False) as connection:
        report = verify_chain(connection, path)
        rows = {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
            for table in ("entries", "accounts", "jobs", "steps")
        }
    return report, rows


def flip_and_read(
    folder: Path, files: dict[str, bytes], name: str, position: int
) -> tuple[VerifyReport, dict[str, list[Any]]] | None:
    """Flip one bit of one byte; return what the ledger then says, None when it refuses."""
    content = bytearray(files[name])
    content[position] ^= 1 << random.Random(position).randrange(8)
    write_folder(folder, {**files, name: bytes(content)})
    try:
        return meaning(folder / "ledger.sqlite")
    except LedgerError:
        return None


def _flip_bytes(book: Ledger, stride: int) -> tuple[int, int]:
    """Flip every `stride`-th byte; return how many, and how many of them were refused."""
    files, truth = read_folder(book.path.parent), meaning(book.path)
    positions = range(0, len(files["ledger.sqlite"]), stride)
    refused = 0
    for position in positions:
        said = flip_and_read(book.path.parent, files, "ledger.sqlite", position)
        assert said in (None, truth), f"byte {position}"
        refused += said is None
    print(f"ledger tamper cases, bytes of the file: {len(positions)}, refused: {refused}")
    return len(positions), refused


@pytest.mark.threat("T-08")
def test_a_flipped_byte_of_the_file_is_found_or_means_nothing(book: Ledger) -> None:
    num_cases, refused = _flip_bytes(book, 29)
    assert num_cases > 1000
    assert refused > num_cases // 10  # much of the file is free space


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_flipped_byte_of_the_file_is_found_or_means_nothing(book: Ledger) -> None:
    _flip_bytes(book, 1)


def test_a_flipped_byte_of_the_log_can_only_take_the_last_calls_back(book: Ledger) -> None:
    """SQLite ends its log at the first bad checksum: a rollback to a state that was valid. Only the head tells."""
    with closing(apsw.Connection(str(book.path))) as reader:  # while it stays, the log does
        reader.execute("SELECT count(*) FROM entries").fetchall()
        book.commit(job_id(4), "train-0002")
        book.record("remark", {"text": "x"})
        files, truth = read_folder(book.path.parent), meaning(book.path)
    log = "ledger.sqlite-wal"
    outcomes = {"refused": 0, "same": 0, "taken back": 0}
    for position in range(0, len(files[log]), 53):
        said = flip_and_read(book.path.parent, files, log, position)
        outcome = "refused" if said is None else "same" if said == truth else "taken back"
        outcomes[outcome] += 1
        if outcome == "taken back":
            assert said[1]["entries"] == truth[1]["entries"][: said[0].num_entries]
            assert said[0].head != truth[0].head
    print(f"ledger tamper cases, bytes of the log: {sum(outcomes.values())}, {outcomes}")
    assert outcomes["taken back"] > 0
