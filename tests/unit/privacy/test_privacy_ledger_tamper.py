"""What an attacker with the file and SQLite can do, and how far it gets."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
from privacy_cases import POPULATION, TREE, account, job_id, reservation, steps

from almoner.errors import BudgetExceeded, LedgerError
from almoner.privacy.ledger import Ledger
from almoner.privacy.ledger_entries import Entry
from almoner.privacy.ledger_schema import ENTRIES_DDL
from almoner.privacy.ledger_verify import verify_chain
from almoner.schema.base import canonical_json

TRIGGERS = "CREATE TRIGGER" + ENTRIES_DDL.partition("CREATE TRIGGER")[2]
NAMES = ("entries_extend_the_chain", "entries_never_change", "entries_never_go")


@pytest.fixture
def book(ledger: Ledger) -> Ledger:
    """A ledger of eleven entries: job 1 settled, job 2 started, job 3 reserved."""
    for number in (1, 2, 3):
        ledger.reserve(reservation(number, steps(2)))
    for number in (1, 2):
        ledger.start(job_id(number), TREE)
        ledger.commit(job_id(number), "train-0001")
    ledger.settle(job_id(1), "the job ended")
    ledger.record("decision", {"verdict": "refused"})
    ledger.verify()
    return ledger


@pytest.fixture
def long_book(book: Ledger) -> Ledger:
    """The same with jobs 4, abandoned and reconciled, and 5, abandoned: every kind of entry but a migration."""
    for number in (4, 5):
        book.reserve(reservation(number, steps(2)))
        book.start(job_id(number), TREE)
        book.commit(job_id(number), "train-0001")
        book.release(job_id(number), "train-0001", "d" * 64)
        book.abandon(job_id(number), "its process died")
    book.reconcile(job_id(4), "the machine lost power")
    book.verify()
    return book


@contextmanager
def unguarded(path: Path) -> Iterator[apsw.Connection]:
    """Open the file behind the ledger's back: triggers dropped, and put back at the end."""
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("BEGIN;" + "".join(f"DROP TRIGGER {name};" for name in NAMES))
    yield connection
    connection.execute("COMMIT")
    connection.execute(TRIGGERS)
    connection.close()


def raw(path: Path, *statements: str) -> None:
    """Run statements behind the ledger's back."""
    with unguarded(path) as connection:
        for statement in statements:
            connection.execute(statement)


def rehash(path: Path, edit: Callable[[list[dict[str, Any]]], None]) -> None:
    """Rewrite the whole chain with correct hashes after an edit: only the rules can object then."""
    with unguarded(path) as connection:
        rows = connection.execute("SELECT time, kind, payload FROM entries ORDER BY seq").fetchall()
        entries = [{"time": time, "kind": kind, "payload": json.loads(payload)} for time, kind, payload in rows]
        edit(entries)
        connection.execute("DELETE FROM entries")
        previous = "0" * 64
        for seq, entry in enumerate(entries, start=1):
            payload = entry.get("raw") or canonical_json(entry["payload"]).decode()
            digest = Entry(seq, entry["time"], entry["kind"], payload, previous, "").expected_hash()
            row = (seq, entry["time"], entry["kind"], payload, previous, digest)
            connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", row)
            previous = digest


@pytest.mark.threat("T-08")
@pytest.mark.parametrize("column", ["payload", "hash", "previous", "kind", "time"])
def test_every_flipped_byte_is_found_at_its_entry(book: Ledger, column: str) -> None:
    """Every byte of the columns, one bit each; verified inside the attacker's own transaction, for speed."""
    num_cases = 0
    update = f"UPDATE entries SET {column} = CAST(? AS TEXT) WHERE seq = ?"
    entries = book.entries()
    with unguarded(book.path) as connection:
        for entry in entries:
            original = getattr(entry, column).encode()
            for position in range(len(original)):
                flipped = bytearray(original)
                flipped[position] ^= 1 << (position % 8)
                connection.execute(update, (bytes(flipped), entry.seq))
                with pytest.raises(LedgerError, match=rf"entry {entry.seq} "):
                    verify_chain(connection, book.path)
            num_cases += len(original)
            connection.execute(update, (original, entry.seq))
    print(f"ledger tamper cases, bytes of {column}: {num_cases}")
    book.verify()  # everything was put back


SHIFT = "UPDATE entries SET seq = -seq - {step} WHERE seq > {seq}; UPDATE entries SET seq = -seq WHERE seq < 0"
MOVES = {
    "removed": "DELETE FROM entries WHERE seq = {seq}",
    "removed, the gap closed": "DELETE FROM entries WHERE seq = {seq};" + SHIFT.replace("{step}", "-1"),
    "swapped with the next": "UPDATE entries SET seq = 1000 WHERE seq = {seq};"
    "UPDATE entries SET seq = {seq} WHERE seq = {seq} + 1; UPDATE entries SET seq = {seq} + 1 WHERE seq = 1000",
    "inserted again": SHIFT.replace("{step}", "1")
    + "; INSERT INTO entries SELECT {seq} + 1, time, kind, payload, hash, hash FROM entries WHERE seq = {seq}",
}


@pytest.mark.threat("T-08")
@pytest.mark.parametrize("move", MOVES)
def test_every_removed_reordered_and_inserted_entry_is_found(long_book: Ledger, move: str) -> None:
    num_entries = len(long_book.entries())
    for seq in range(1, num_entries + 1):
        with unguarded(long_book.path) as connection:
            connection.execute("SAVEPOINT attack")
            connection.execute(MOVES[move].replace("{seq}", str(seq)))
            changed = connection.execute("SELECT group_concat(seq || hash) FROM entries").get
            if changed != "".join(f"{'' if e.seq == 1 else ','}{e.seq}{e.hash}" for e in long_book.entries()):
                with pytest.raises(LedgerError, match=r"entry \d+ |state: "):
                    verify_chain(connection, long_book.path)
            else:
                assert (move, seq) == ("swapped with the next", num_entries)  # there is no next
            connection.execute("ROLLBACK TO attack")
    print(f"ledger tamper cases, entries {move}: {num_entries}")
    long_book.verify()


@pytest.mark.threat("T-08")
@pytest.mark.parametrize(
    ("statements", "where"),
    [
        (["DELETE FROM entries WHERE seq = 4"], r"entry 4 .*missing"),
        (["DELETE FROM entries WHERE seq = 1"], r"entry 1 .*missing"),
        (["DELETE FROM entries WHERE seq = 4", "UPDATE entries SET seq = seq - 1 WHERE seq > 4"], "entry 4 "),
        (["UPDATE entries SET seq = 100 WHERE seq = 4", "UPDATE entries SET seq = 4 WHERE seq = 5",
          "UPDATE entries SET seq = 5 WHERE seq = 100"], "entry 4 "),
        (["INSERT INTO entries SELECT 100, time, kind, payload, previous, hash FROM entries WHERE seq = 6"],
         r"entry 12 .*missing"),
        (["INSERT INTO entries SELECT max(seq) + 1, time, kind, payload, hash, hash FROM entries"], "entry 12 "),
        (["DELETE FROM entries"], "state: there are no entries"),
        (["DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries WHERE kind = 'settled')"], "entry 10 "),
    ],
)  # fmt: skip
def test_removed_reordered_and_inserted_entries_are_found(book: Ledger, statements: list[str], where: str) -> None:
    raw(book.path, *statements)
    with pytest.raises(LedgerError, match=where):
        book.verify()


def test_a_tail_cut_off_is_found_when_the_state_was_not_turned_back_too(book: Ledger) -> None:
    raw(book.path, "DELETE FROM entries WHERE seq > 9")  # the settlement and the decision
    with pytest.raises(LedgerError, match="state: table accounts does not follow"):
        book.verify()


def test_an_older_valid_copy_cannot_be_seen(book: Ledger) -> None:
    """The limit that the docstring names: rolled back whole, a ledger verifies; only its head tells."""
    older, head = book.path.read_bytes(), book.head()
    book.commit(job_id(2), "train-0002")
    newer = book.head()
    book.path.write_bytes(older)
    book.verify()
    assert book.head() == head != newer


@pytest.mark.threat("T-08")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts SET rdp_spent = rdp_spent - 0.01, rdp_committed = 0",
        "UPDATE accounts SET rdp_spent = rdp_spent + 1e-12",
        "UPDATE accounts SET epsilon_cap = 30.0",
        "UPDATE accounts SET renyi_order = 8",
        "UPDATE accounts SET delta = 0.05",
        "UPDATE jobs SET status = 'reserved' WHERE status = 'started'",
        "UPDATE jobs SET nonce = '" + "e" * 32 + "' WHERE rowid = 1",
        "UPDATE jobs SET last_position = -1",
        "UPDATE jobs SET tree_digest = '" + "e" * 64 + "' WHERE rowid = 1",
        "UPDATE steps SET committed = 0",
        "UPDATE steps SET released = '" + "e" * 64 + "' WHERE committed = 1",
        "UPDATE steps SET charge = 0.0 WHERE committed = 0",
        "UPDATE steps SET step = 'train-0009' WHERE position = 1",
        "UPDATE steps SET events = replace(events, '7.297', '9.297')",
        "DELETE FROM steps WHERE position = 1",
        "INSERT INTO steps SELECT job_id, 9, 'train-0009', events, charge, 0, NULL FROM steps LIMIT 1",
        "INSERT INTO accounts VALUES ('more', 'patient', 'add_or_remove_one', 3.0, 1e-4, 6, 0.0, 0.0)",
    ],
)
def test_a_state_that_does_not_follow_is_found(book: Ledger, statement: str) -> None:
    raw(book.path, statement)
    with pytest.raises(LedgerError, match=r"state: table (accounts|jobs|steps) does not follow"):
        book.verify()


Edit = Callable[[list[dict[str, Any]]], Any]

LIES: dict[str, tuple[str, Edit]] = {
    # entries of `book`, from 0: created, opened, reserved 1-3, started 1, committed 1, started 2, committed 2,
    # settled 1, decision
    "no creation": ("does not create", lambda e: e.pop(0)),
    "created twice": ("created already", lambda e: e.insert(1, dict(e[0]))),
    "account opened twice": ("opened already", lambda e: e.insert(2, dict(e[1]))),
    "account not opened": ("not opened", lambda e: e.pop(1)),
    "account without budget": ("no budget", lambda e: e[1]["payload"].update(order=2)),
    "reserved twice": ("reserved already", lambda e: e.insert(3, dict(e[2]))),
    "nonce used twice": ("nonce", lambda e: e[3]["payload"].update(nonce=e[2]["payload"]["nonce"])),
    "another unit": ("unit or relation", lambda e: e[2]["payload"].update(privacy_unit="record")),
    "cheaper than its events": ("does not follow from", lambda e: e[2]["payload"]["steps"][1].update(charge=0.0)),
    "dearer than its events": ("does not follow from", lambda e: e[2]["payload"]["steps"][1].update(charge=1.0)),
    "more noise than charged": ("does not follow from", lambda e: _events_of(e[2]).update(sampling_prob=0.6)),
    "no noise at all": ("does not follow from", lambda e: _events_of(e[2]).update(noise_multiplier=1e-9)),
    "over the cap": ("over its cap", lambda e: e[1]["payload"]["account"].update(epsilon_cap=1.31)),
    "started twice": ("is started", lambda e: e.insert(6, dict(e[5]))),
    "another folder started": ("tree digest", lambda e: e[5]["payload"].update(tree_digest="c" * 64)),
    "committed without a reservation": ("not reserved", lambda e: _receipt(e[6]).update(job_id=job_id(9))),
    "committed before its start": ("is reserved", lambda e: e.insert(5, e.pop(6))),
    "committed twice": ("out of order", lambda e: e.insert(7, dict(e[6]))),
    "committed an unplanned step": ("not reserved", lambda e: _receipt(e[6]).update(step="accuracy")),
    "committed out of order": ("out of order", lambda e: e.insert(6, _second_step(e[6]))),
    "committed other events": ("not what was", lambda e: _receipt(e[6])["events"][0].update(noise_multiplier=99.0)),
    "committed at another site": ("not what was reserved", lambda e: _receipt(e[6]).update(site="hungary")),
    "committed more cheaply": ("not what was reserved", lambda e: e[6]["payload"].update(charge=0.0)),
    "committed after settling": ("is settled", lambda e: e.insert(10, _second_step(e[6]))),
    "refunded too much": ("refund is not", lambda e: e[9]["payload"].update(refund=2 * e[9]["payload"]["refund"])),
    "settled twice": ("is settled", lambda e: e.insert(10, dict(e[9]))),
    "settled without a reservation": ("not reserved", lambda e: e[9]["payload"].update(job_id=job_id(9))),
    "unknown kind": ("kind is unknown", lambda e: e[10].update(kind="refill")),
    "unknown field": ("does not fit", lambda e: e[5]["payload"].update(extra=1)),
    "not canonical": ("not canonical", lambda e: e[10].update(raw='{ "verdict": "refused" }')),
    "not a mapping": ("not a mapping", lambda e: e[10].update(raw="[1]")),
    "not JSON": ("does not fit", lambda e: e[10].update(raw="{")),
    "not a number": ("does not fit", lambda e: e[9].update(raw=json.dumps({**e[9]["payload"], "refund": math.nan}))),
    "a number that JSON lacks": ("does not fit", lambda e: e[10].update(raw='{"x":NaN}')),
}  # fmt: skip


def _receipt(entry: dict[str, Any]) -> dict[str, Any]:
    return entry["payload"]["receipt"]


def _events_of(entry: dict[str, Any]) -> dict[str, Any]:
    return entry["payload"]["steps"][0]["events"][0]


def _second_step(commit: dict[str, Any]) -> dict[str, Any]:
    """A commit like the given one, for its job's second step."""
    entry = json.loads(json.dumps(commit))
    entry["payload"]["receipt"]["step"] = "train-0002"
    return entry


LATER_LIES: dict[str, tuple[str, Edit]] = {
    # entries of `long_book` from 11: reserved, started, committed, released, abandoned (job 4); the same five of
    # job 5; reconciled (job 4)
    "released before its commit": ("was not committed", lambda e: e.insert(13, e.pop(14))),
    "released an unplanned step": ("was not committed", lambda e: e[14]["payload"].update(step="accuracy")),
    "released twice": ("released a result already", lambda e: e.insert(15, dict(e[14]))),
    "released after the end": ("is abandoned", lambda e: e.insert(15, e.pop(14))),
    "abandoned before its start": ("is reserved", lambda e: e.insert(12, e.pop(15))),
    "abandoned twice": ("is abandoned", lambda e: e.insert(16, dict(e[15]))),
    "abandoned was settled": ("is abandoned", lambda e: e[21].update(kind="settled")),
    "reconciled alive": ("is started", lambda e: e.pop(15)),
    "reconciled too much": ("refund is not", lambda e: e[21]["payload"].update(refund=0.5)),
    "reconciled twice": ("is settled", lambda e: e.append(dict(e[21]))),
    "an entry of a later version": ("has no such entries", lambda e: e[0]["payload"].update(ledger_version=1)),
    "migrated twice": ("was of version 2", lambda e: e.append(
        {**e[21], "kind": "migrated", "payload": {"from_version": 1, "to_version": 2}})),
}  # fmt: skip


@pytest.mark.parametrize("name", LATER_LIES)
def test_a_later_lie_with_all_hashes_anew_breaks_a_rule(long_book: Ledger, name: str) -> None:
    finding, edit = LATER_LIES[name]
    rehash(long_book.path, edit)
    with pytest.raises(LedgerError, match=rf": entry \d+ \(.*{finding}"):
        long_book.verify()


@pytest.mark.threat("T-08")
@pytest.mark.parametrize("name", LIES)
def test_a_lie_with_all_hashes_anew_breaks_a_rule(book: Ledger, name: str) -> None:
    finding, edit = LIES[name]
    rehash(book.path, edit)
    with pytest.raises(LedgerError, match=rf": entry \d+ \(.*{finding}"):
        book.verify()


def test_rehashing_alone_changes_nothing(book: Ledger) -> None:
    before = book.entries()
    rehash(book.path, lambda entries: None)
    assert book.entries() == before
    book.verify()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET payload = '{}' WHERE seq = 3",
        "DELETE FROM entries WHERE seq = 3",
        "DELETE FROM entries",
        "UPDATE OR REPLACE entries SET seq = 3 WHERE seq = 4",
        "INSERT OR REPLACE INTO entries SELECT seq, time, kind, '{}', previous, hash FROM entries WHERE seq = 3",
        "REPLACE INTO entries SELECT * FROM entries WHERE seq = 11",
        "INSERT INTO entries SELECT 40, time, kind, payload, hash, hash FROM entries WHERE seq = 11",
        "INSERT INTO entries SELECT 12, time, kind, payload, previous, hash FROM entries WHERE seq = 11",
        "INSERT INTO entries SELECT 0, time, kind, payload, hash, hash FROM entries WHERE seq = 11",
    ],
)
def test_triggers_stop_plain_sql(book: Ledger, statement: str) -> None:
    connection = apsw.Connection(str(book.path))
    with pytest.raises(apsw.ConstraintError, match="append-only"):
        connection.execute(statement)
    connection.close()
    book.verify()


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER entries_never_go",
        "CREATE TRIGGER refill AFTER INSERT ON entries BEGIN UPDATE accounts SET rdp_spent = 0, rdp_committed = 0; END",
        "CREATE TRIGGER sqliteXstat1 BEFORE INSERT ON entries BEGIN SELECT RAISE(IGNORE); END",
        "CREATE VIEW more AS SELECT * FROM entries",
        "ANALYZE",
        "DROP INDEX jobs_by_status",
        "ALTER TABLE accounts ADD COLUMN note TEXT",
    ],
)
def test_changed_tables_and_triggers_are_refused_by_every_call(book: Ledger, statement: str) -> None:
    connection = apsw.Connection(str(book.path))
    connection.execute(statement)
    connection.close()
    calls: list[Callable[[], Any]] = [
        book.verify, book.accounts, lambda: Ledger.open(book.path), lambda: book.commit(job_id(2), "train-0002"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(LedgerError, match="tables or triggers were changed"):
            call()


def test_nothing_is_built_on_a_damaged_tail(book: Ledger) -> None:
    raw(book.path, 'UPDATE entries SET payload = \'{"verdict":"admitted"}\' WHERE seq = 11')
    for write in (
        lambda: book.commit(job_id(2), "train-0002"),
        lambda: book.reserve(reservation(4)),
        lambda: book.record("remark", {}),
        lambda: book.settle(job_id(3), "x"),
        lambda: book.open_account(account(population="other")),
    ):
        with pytest.raises(LedgerError, match=r"entry 11 .*damaged"):
            write()


def test_a_refill_by_hand_lets_a_job_in_but_not_past_verification(book: Ledger) -> None:
    """The state tables are trusted until `verify`: this is what it is for."""
    full = book.account(POPULATION)
    count = int(full.rdp_left / (full.rdp_committed / 2)) + 1
    with pytest.raises(BudgetExceeded):
        book.reserve(reservation(4, steps(count)))
    raw(book.path, "UPDATE accounts SET rdp_committed = 0, rdp_spent = 0")
    book.reserve(reservation(4, steps(count)))
    with pytest.raises(LedgerError, match=r"entry 12 \(reserved\).*over its cap"):
        book.verify()


def test_one_entry_rewritten_with_its_own_hash_breaks_the_link_to_the_next(book: Ledger) -> None:
    last = book.entries()[10]
    forged = Entry(11, last.time, last.kind, '{"verdict":"admitted"}', "f" * 64, "")
    raw(
        book.path,
        f"UPDATE entries SET payload = '{forged.payload}', previous = '{forged.previous}',"
        f" hash = '{forged.expected_hash()}' WHERE seq = 11",
    )
    with pytest.raises(LedgerError, match=r"entry 11 .*does not follow the entry before"):
        book.verify()


def test_an_index_that_disagrees_with_its_table_is_found(book: Ledger) -> None:
    """Tables, triggers and chain read the same; only SQLite's own check can see it."""
    name = "jobs_by_status"
    connection = apsw.Connection(str(book.path))
    connection.execute("PRAGMA writable_schema=ON")
    row = connection.execute("SELECT * FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    connection.execute("UPDATE jobs SET status = 'settled' WHERE status = 'started'")
    connection.execute("DELETE FROM sqlite_master WHERE name = ?", (name,))
    connection.close()
    connection = apsw.Connection(str(book.path))  # does not know the index
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("UPDATE jobs SET status = 'started' WHERE job_id = ?", (job_id(2),))
    connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
    connection.close()
    assert job_id(2) not in {job.job_id for job in book.open_jobs()}  # what the attacker gains
    with pytest.raises(LedgerError, match="the file is damaged"):
        book.verify()


def test_damaged_pages_are_found(book: Ledger) -> None:
    for number in range(4, 40):
        book.record("remark", {"text": "x" * 2000, "number": number})
    content = bytearray(book.path.read_bytes())
    for offset in range(len(content) // 2, len(content) // 2 + 4096):
        content[offset] ^= 0xFF
    book.path.write_bytes(bytes(content))
    with pytest.raises(LedgerError) as refusal:
        book.verify()
    assert "\n" not in str(refusal.value)
