import json
import math
import os
import stat
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import pytest
from privacy_cases import POPULATION, TREE, account, gaussian, job_id, pure, reservation, steps

from almoner.errors import BudgetExceeded, LedgerError, PolicyViolation
from almoner.privacy import ledger_chain
from almoner.privacy.budget import charge_of
from almoner.privacy.ledger import Ledger
from almoner.privacy.plan import PlannedStep
from almoner.schema.receipt import PrivacyReceipt

STEP = charge_of((gaussian(),), 6)


def test_a_new_account_has_spent_nothing(ledger: Ledger) -> None:
    state = ledger.account(POPULATION)
    assert (state.rdp_spent, state.rdp_committed, state.epsilon_spent, state.epsilon_committed) == (0, 0, 0, 0)
    assert (state.filter.order, state.epsilon_left, state.rdp_left) == (6, 3.0, state.filter.budget)
    assert ledger.accounts() == (state,)
    assert ledger.site == "cleveland"


def test_the_way_of_a_job(ledger: Ledger) -> None:
    ledger.reserve(reservation(1))
    assert ledger.job(job_id(1)).status == "reserved"
    assert ledger.open_jobs() == (ledger.job(job_id(1)),)
    assert ledger.account(POPULATION).rdp_spent == 3 * STEP
    assert ledger.account(POPULATION).rdp_committed == 0
    ledger.start(job_id(1), TREE)
    assert not ledger.committed(job_id(1), "train-0001")
    receipt = ledger.commit(job_id(1), "train-0001")
    assert receipt == PrivacyReceipt(
        site="cleveland",
        job_id=job_id(1),
        step="train-0001",
        privacy_unit="patient",
        neighboring_relation="add_or_remove_one",
        events=(gaussian(),),
    )
    assert ledger.committed(job_id(1), "train-0001")
    assert ledger.account(POPULATION).rdp_committed == STEP
    assert ledger.account(POPULATION).epsilon_committed > 0
    assert ledger.settle(job_id(1), "the job ended") == 2 * STEP
    assert ledger.account(POPULATION).rdp_spent == ledger.account(POPULATION).rdp_committed == STEP
    assert (ledger.job(job_id(1)).status, ledger.open_jobs()) == ("settled", ())
    assert [entry.kind for entry in ledger.entries()] == [
        "created", "account-opened", "reserved", "started", "committed", "settled",
    ]  # fmt: skip
    assert ledger.verify().accounts == ledger.accounts()


def test_reopening_gives_the_same_state(ledger: Ledger) -> None:
    ledger.reserve(reservation(1))
    ledger.start(job_id(1), TREE)
    ledger.commit(job_id(1), "train-0002")
    with Ledger.open(ledger.path) as again:
        assert again.accounts() == ledger.accounts()
        assert again.entries() == ledger.entries()
        assert again.head() == (5, ledger.entries()[-1].hash)
        assert again.verify() == ledger.verify()


Act = Callable[[Ledger], Any]

ACTS: dict[str, Act] = {
    "reserve": lambda book: book.reserve(reservation(1)),
    "start": lambda book: book.start(job_id(1), TREE),
    "start another folder": lambda book: book.start(job_id(1), "c" * 64),
    "first": lambda book: book.commit(job_id(1), "train-0001"),
    "second": lambda book: book.commit(job_id(1), "train-0002"),
    "unplanned": lambda book: book.commit(job_id(1), "train-0004"),
    "release": lambda book: book.release(job_id(1), "train-0001", "d" * 64),
    "release another": lambda book: book.release(job_id(1), "train-0001", "e" * 64),
    "release the second": lambda book: book.release(job_id(1), "train-0002", "d" * 64),
    "release no digest": lambda book: book.release(job_id(1), "train-0001", "d"),
    "settle": lambda book: book.settle(job_id(1), "the job ended"),
    "withdraw": lambda book: book.withdraw(job_id(1), "the job was never started"),
    "withdraw by a paragraph": lambda book: book.withdraw(job_id(1), "never\nstarted"),
    "close dead": lambda book: book.close_dead(job_id(1), "its process died"),
    "close dead by a paragraph": lambda book: book.close_dead(job_id(1), "its process\ndied"),
    "abandon": lambda book: book.abandon(job_id(1), "its process died"),
    "abandon by a paragraph": lambda book: book.abandon(job_id(1), "its process\ndied"),
    "reconcile": lambda book: book.reconcile(job_id(1), "the machine lost power"),
    "reserve another": lambda book: book.reserve(reservation(2, (PlannedStep("accuracy", (pure(),)),))),
    "its step": lambda book: book.commit(job_id(1), "accuracy"),
}

ILLEGAL = [
    ((), "start"),
    ((), "first"),
    ((), "settle"),
    (("reserve",), "first"),
    (("reserve",), "start another folder"),
    (("reserve", "start"), "start"),
    (("reserve", "settle"), "start"),
    (("reserve", "settle"), "first"),
    (("reserve", "start", "settle"), "first"),
    (("reserve", "start", "first", "settle"), "second"),
    (("reserve", "start", "first"), "first"),
    (("reserve", "start", "second"), "first"),
    (("reserve", "start"), "unplanned"),
    (("reserve", "start", "reserve another"), "its step"),
    ((), "release"),
    (("reserve",), "release"),
    (("reserve", "start"), "release"),
    (("reserve", "start", "first"), "release the second"),
    (("reserve", "start", "first"), "release no digest"),
    (("reserve", "start", "first", "release"), "release another"),
    (("reserve", "start", "first", "settle"), "release"),
    (("reserve", "start", "first", "abandon"), "release"),
    (("reserve", "start", "first", "release", "settle"), "release another"),
    ((), "abandon"),
    (("reserve",), "abandon"),
    (("reserve", "start"), "abandon by a paragraph"),
    (("reserve", "settle"), "abandon"),
    (("reserve", "start", "abandon"), "start"),
    (("reserve", "start", "abandon"), "first"),
    (("reserve", "start", "abandon"), "settle"),
    (("reserve", "start", "abandon", "reconcile"), "reconcile"),
    (("reserve", "start", "abandon", "reconcile"), "abandon"),
    ((), "withdraw"),
    (("reserve",), "withdraw by a paragraph"),
    (("reserve", "withdraw"), "start"),
    ((), "close dead"),
    (("reserve",), "close dead"),
    (("reserve", "start"), "close dead by a paragraph"),
    (("reserve", "start", "close dead"), "first"),
    (("reserve", "start", "first", "close dead"), "second"),
    (("reserve", "start", "first", "close dead"), "release"),
    (("reserve", "start", "first", "close dead"), "settle"),
    ((), "reconcile"),
    (("reserve",), "reconcile"),
    (("reserve", "start"), "reconcile"),
    (("reserve", "start", "settle"), "reconcile"),
]


@pytest.mark.parametrize(("before", "act"), ILLEGAL)
def test_an_illegal_transition_raises_and_writes_nothing(ledger: Ledger, before: tuple[str, ...], act: str) -> None:
    for name in before:
        ACTS[name](ledger)
    head, accounts = ledger.head(), ledger.accounts()
    with pytest.raises(LedgerError) as refusal:
        ACTS[act](ledger)
    assert "\n" not in str(refusal.value)
    assert (ledger.head(), ledger.accounts()) == (head, accounts)


@pytest.mark.parametrize("end", [(), ("settle",), ("abandon",), ("abandon", "reconcile")])
def test_a_resend_writes_nothing_whatever_became_of_the_job(ledger: Ledger, end: tuple[str, ...]) -> None:
    for name in ("reserve", "start", "first", "release", *end):
        ACTS[name](ledger)
    head, accounts = ledger.head(), ledger.accounts()
    ACTS["release"](ledger)
    assert (ledger.head(), ledger.accounts()) == (head, accounts)
    with pytest.raises(LedgerError, match="released another result"):
        ACTS["release another"](ledger)
    ledger.verify()


def test_an_abandoned_job_stays_charged_until_somebody_reconciles_it(ledger: Ledger) -> None:
    for name in ("reserve", "start", "first", "abandon"):
        ACTS[name](ledger)
    assert ledger.account(POPULATION).rdp_spent == 3 * STEP
    assert [job.status for job in ledger.open_jobs()] == ["abandoned"]
    head = ledger.head()
    ACTS["abandon"](ledger)
    assert ledger.head() == head
    assert ledger.verify().num_open_jobs == 1
    assert ACTS["reconcile"](ledger) == 2 * STEP
    assert ledger.account(POPULATION).rdp_spent == ledger.account(POPULATION).rdp_committed == STEP
    assert (ledger.job(job_id(1)).status, ledger.open_jobs()) == ("settled", ())
    assert ledger.verify().accounts == ledger.accounts()
    assert ACTS["settle"](ledger) == 0.0


@pytest.mark.parametrize("before", [("start",), ("start", "first"), ("start", "abandon"), ("settle",)])
def test_withdrawing_leaves_a_job_alone_that_is_not_reserved(ledger: Ledger, before: tuple[str, ...]) -> None:
    for name in ("reserve", *before):
        ACTS[name](ledger)
    head, state = ledger.head(), ledger.job(job_id(1))
    assert ACTS["withdraw"](ledger) is False
    assert (ledger.head(), ledger.job(job_id(1))) == (head, state)


def test_withdrawing_gives_a_reservation_back(ledger: Ledger) -> None:
    ACTS["reserve"](ledger)
    assert ACTS["withdraw"](ledger) is True
    assert (ledger.job(job_id(1)).status, ledger.account(POPULATION).rdp_spent) == ("settled", 0.0)
    assert ledger.verify().accounts == ledger.accounts()


@pytest.mark.threat("T-09")
@pytest.mark.parametrize(("before", "status", "charge"), [((), "settled", 0), (("second",), "abandoned", 3)])
def test_a_dead_job_is_given_back_if_it_committed_nothing(
    ledger: Ledger, before: tuple[str, ...], status: str, charge: int
) -> None:
    for name in ("reserve", "start", *before):
        ACTS[name](ledger)
    assert ACTS["close dead"](ledger) == ledger.job(job_id(1)).status == status
    assert ledger.account(POPULATION).rdp_spent == charge * STEP
    head = ledger.head()
    assert ACTS["close dead"](ledger) == status
    assert ledger.head() == head
    assert ledger.verify().accounts == ledger.accounts()


def test_skipping_forward_is_allowed_and_the_rest_is_refunded(ledger: Ledger) -> None:
    ledger.reserve(reservation(1, steps(5)))
    ledger.start(job_id(1), TREE)
    ledger.commit(job_id(1), "train-0002")
    ledger.commit(job_id(1), "train-0005")
    assert ledger.settle(job_id(1), "x") == 3 * STEP


def test_a_reservation_that_never_started_is_refunded_whole(ledger: Ledger) -> None:
    ledger.reserve(reservation(1))
    assert ledger.settle(job_id(1), "never deployed") == 3 * STEP
    assert ledger.account(POPULATION).epsilon_spent == 0


def test_settling_twice_writes_nothing_and_refunds_nothing(ledger: Ledger) -> None:
    ledger.reserve(reservation(1))
    ledger.settle(job_id(1), "x")
    head = ledger.head()
    assert ledger.settle(job_id(1), "x") == 0.0
    assert ledger.head() == head


@pytest.mark.threat("T-04")
def test_the_last_fitting_charge_is_taken_and_no_more(ledger: Ledger) -> None:
    budget = ledger.account(POPULATION).filter.budget
    for number in range(int(budget / (3 * STEP))):
        ledger.reserve(reservation(number + 1))
    before = ledger.account(POPULATION)
    with pytest.raises(BudgetExceeded, match=r"ε=\d\.\d\d of 3\.00 is spent.*→") as refusal:
        ledger.reserve(reservation(1000))
    assert POPULATION in str(refusal.value)
    assert ledger.account(POPULATION) == before
    assert before.epsilon_spent <= 3.0


@pytest.mark.parametrize("event", [gaussian(0.3, 1.0, 10_000_000), gaussian(1e-9), pure(100.0, 10)])
def test_a_charge_beyond_all_bounds_is_refused(ledger: Ledger, event: Any) -> None:
    with pytest.raises(BudgetExceeded):
        ledger.reserve(reservation(1, steps(2, event)))
    assert not ledger.seen_nonce(f"{1:032x}")


def test_a_refused_submission_burns_neither_nonce_nor_job_id(ledger: Ledger) -> None:
    with pytest.raises(BudgetExceeded):
        ledger.reserve(reservation(1, steps(2, pure(9.0))))
    with pytest.raises(PolicyViolation):
        ledger.reserve(reservation(1, privacy_unit="record"))
    assert not ledger.seen_nonce(f"{1:032x}")
    ledger.reserve(reservation(1))
    assert ledger.seen_nonce(f"{1:032x}")


def test_a_nonce_and_a_job_id_are_accepted_once_for_life(ledger: Ledger) -> None:
    ledger.reserve(reservation(1))
    ledger.settle(job_id(1), "x")
    with pytest.raises(PolicyViolation, match="nonce was used before"):
        ledger.reserve(reservation(2, nonce=f"{1:032x}"))
    with pytest.raises(PolicyViolation, match="job id was used before"):
        ledger.reserve(reservation(1, nonce="f" * 32))
    with pytest.raises(PolicyViolation, match="used before"):
        ledger.reserve(reservation(1))


@pytest.mark.parametrize("change", [{"privacy_unit": "record"}, {"neighboring_relation": "replace_one"}])
def test_another_unit_or_relation_is_refused(ledger: Ledger, change: dict[str, str]) -> None:
    with pytest.raises(PolicyViolation, match="but account"):
        ledger.reserve(reservation(1, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"job_id": "1"},
        {"job_id": job_id(1).replace("-", "")},
        {"job_id": "{" + job_id(1) + "}"},
        {"job_id": job_id(0xABC).upper()},
        {"job_id": job_id(1) + "\n"},
        {"nonce": "f" * 31},
        {"nonce": "F" * 32},
        {"envelope_digest": ""},
        {"tree_digest": "x" * 64},
        {"population": "nowhere"},
        {"steps": (PlannedStep("train-0001", (gaussian(),)),) * 2},
        {"steps": (PlannedStep("train-0001", ()),)},
        {"steps": (PlannedStep("Train 1", (gaussian(),)),)},
    ],
)
def test_a_malformed_reservation_is_refused(ledger: Ledger, change: dict[str, Any]) -> None:
    head = ledger.head()
    with pytest.raises(LedgerError) as refusal:
        ledger.reserve(reservation(1, **change))
    assert "\n" not in str(refusal.value)
    assert ledger.head() == head


def test_a_job_that_touches_no_data_costs_nothing(ledger: Ledger) -> None:
    ledger.reserve(reservation(1, ()))
    ledger.start(job_id(1), TREE)
    with pytest.raises(LedgerError, match="was not reserved"):
        ledger.commit(job_id(1), "train-0001")
    assert ledger.account(POPULATION).epsilon_spent == 0


def test_an_account_is_for_life(ledger: Ledger) -> None:
    ledger.reserve(reservation(1))
    head = ledger.head()
    assert ledger.open_account(account()) == ledger.account(POPULATION)
    for change in ({"epsilon_cap": 3.5}, {"epsilon_cap": 2.0}, {"delta": 1e-5}, {"privacy_unit": "record"}):
        with pytest.raises(LedgerError, match="for life"):
            ledger.open_account(account(**change))
    assert ledger.head() == head


def test_accounts_do_not_share_a_budget(ledger: Ledger) -> None:
    other = ledger.open_account(account(population="other", epsilon_cap=1.0, delta=1e-5))
    assert (other.filter.order, other.filter.epsilon_cap) == (18, 1.0)
    ledger.reserve(reservation(1, population="other"))
    assert ledger.account(POPULATION).rdp_spent == 0
    assert ledger.account("other").rdp_spent == 3 * charge_of((gaussian(),), 18)
    assert ledger.verify().accounts == ledger.accounts()


def test_an_account_without_budget_is_not_opened(ledger: Ledger) -> None:
    with pytest.raises(PolicyViolation):
        ledger.open_account(account(population="other", epsilon_cap=0.001, delta=1e-9))
    with pytest.raises(LedgerError, match="has no account"):
        ledger.account("other")


def test_recording_facts(ledger: Ledger) -> None:
    entry = ledger.record("decision", {"verdict": "refused", "figures": [1, 0.5, None]})
    assert ledger.entries(limit=1) == (entry,)
    assert json.loads(entry.payload) == {"verdict": "refused", "figures": [1, 0.5, None]}
    assert ledger.record("policy", account()).seq == 4
    assert len(ledger.entries()) == ledger.verify().num_entries == 4
    assert ledger.entries(limit=0) == ()


@pytest.mark.parametrize("kind", ["reserved", "committed", "settled", "created", "account-opened", "", "gossip"])
def test_a_kind_that_could_change_state_cannot_be_recorded(ledger: Ledger, kind: str) -> None:
    with pytest.raises(LedgerError, match="not allowed"):
        ledger.record(kind, {"job_id": job_id(1)})


@pytest.mark.parametrize(
    "payload", [{"x": math.nan}, {"x": math.inf}, {"x": object()}, [1], "text", {"x": "y" * 70_000}, {"x": {1, 2}}]
)
def test_what_is_no_small_json_mapping_cannot_be_recorded(ledger: Ledger, payload: Any) -> None:
    head = ledger.head()
    with pytest.raises(LedgerError, match="record: the payload"):
        ledger.record("decision", payload)
    assert ledger.head() == head


@pytest.mark.parametrize("reason", ["", "two\nlines", "x" * 201, "{x}"])
def test_a_reason_is_one_plain_line(ledger: Ledger, reason: str) -> None:
    ledger.reserve(reservation(1))
    with pytest.raises(LedgerError, match="reason"):
        ledger.settle(job_id(1), reason)
    assert ledger.job(job_id(1)).status == "reserved"


def test_a_clock_that_goes_backwards_stops_nothing_and_is_not_covered_up(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = [datetime(2026, 1, day, tzinfo=UTC) for day in (5, 3, 4, 1)]
    monkeypatch.setattr(ledger_chain, "read_clock", lambda: readings[len(ledger.entries()) - 2])
    ledger.reserve(reservation(1))
    ledger.start(job_id(1), TREE)
    ledger.commit(job_id(1), "train-0001")
    ledger.settle(job_id(1), "x")
    last = ledger.entries(limit=4)
    assert [entry.time for entry in last] == [time.isoformat(timespec="microseconds") for time in readings]
    assert [entry.seq for entry in last] == [3, 4, 5, 6]
    steps_back = 2 + (ledger.entries()[1].time > last[0].time)  # today is after all of these, or it is not
    assert ledger.verify().num_clock_steps_back == steps_back


# -- the file --------------------------------------------------------------------------------------------------


def test_the_file_and_its_log_are_the_owners_alone(ledger: Ledger) -> None:
    holder = apsw.Connection(str(ledger.path))  # keeps the write-ahead log in place
    holder.execute("SELECT count(*) FROM entries").fetchone()
    ledger.record("remark", {"text": "x"})
    for path in ledger.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {path.name for path in ledger.path.parent.iterdir()} >= {"ledger.sqlite", "ledger.sqlite-wal"}
    assert holder.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    holder.close()


def test_a_ledger_is_created_once(ledger: Ledger) -> None:
    head = ledger.head()
    with pytest.raises(LedgerError, match="exists already"):
        Ledger.create(ledger.path, "cleveland")
    assert ledger.head() == head
    assert [path.name for path in ledger.path.parent.iterdir()] == ["ledger.sqlite"]


def test_a_failed_creation_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="site"):
        Ledger.create(tmp_path / "a.sqlite", "Not A Name")
    with pytest.raises(LedgerError, match="cannot be created"):
        Ledger.create(tmp_path / "missing" / "a.sqlite", "cleveland")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_ledger_is_never_made_anew(ledger: Ledger) -> None:
    ledger.path.unlink()
    calls: list[Callable[[], Any]] = [
        lambda: Ledger.open(ledger.path),
        ledger.accounts,
        lambda: ledger.reserve(reservation(1)),
        ledger.verify,
    ]
    for call in calls:
        with pytest.raises(LedgerError, match="is missing"):
            call()
    assert not ledger.path.exists()


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"not a database, only text " * 100])
def test_another_file_is_not_a_ledger(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(LedgerError, match="not an Almoner ledger"):
        Ledger.open(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE t(x)")
    other.close()
    path.chmod(0o600)
    content = path.read_bytes()
    with pytest.raises(LedgerError, match="not an Almoner ledger"):
        Ledger.open(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(("version", "match"), [(3, "newer"), (0, "unknown version"), (-1, "unknown version")])
def test_another_version_is_refused(ledger: Ledger, version: int, match: str) -> None:
    raw = apsw.Connection(str(ledger.path))
    raw.execute(f"PRAGMA user_version={version}")
    raw.close()
    with pytest.raises(LedgerError, match=match):
        Ledger.open(ledger.path)


def test_a_folder_or_a_link_is_no_ledger(ledger: Ledger) -> None:
    link = ledger.path.with_name("link")
    link.symlink_to(ledger.path)
    for path in (ledger.path.parent, link):
        with pytest.raises(LedgerError, match="not a regular file"):
            Ledger.open(path)


def test_a_file_that_others_may_read_is_refused(ledger: Ledger) -> None:
    ledger.path.chmod(0o640)
    with pytest.raises(LedgerError, match="chmod 600"):
        ledger.commit(job_id(1), "train-0001")


def test_a_read_only_file_is_refused() -> None:
    nobody = 65534
    with tempfile.TemporaryDirectory() as folder:
        made = Ledger.create(Path(folder) / "ledger.sqlite", "cleveland")
        made.path.chmod(0o400)
        Path(folder).chmod(0o755)
        if os.geteuid() != 0:
            with pytest.raises(LedgerError, match="read-only"):
                Ledger.open(made.path)
            return
        os.chown(made.path, nobody, nobody)
        child = os.fork()  # root may write to any file: look as another user
        if child == 0:
            os.setuid(nobody)
            try:
                Ledger.open(made.path)
            except LedgerError as error:
                os._exit(10 if "read-only" in str(error) else 11)
            os._exit(12)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10


def test_a_locked_ledger_is_refused_in_time(ledger: Ledger) -> None:
    holder = apsw.Connection(str(ledger.path))
    holder.execute("BEGIN IMMEDIATE")
    impatient = Ledger.open(ledger.path, busy_timeout_seconds=0.05)
    assert impatient.accounts() == ledger.accounts()  # reading goes on beside a writer
    with pytest.raises(LedgerError, match="locked by another process"):
        impatient.reserve(reservation(1))
    holder.execute("ROLLBACK")
    holder.close()
    impatient.reserve(reservation(1))


def test_a_closed_ledger_is_refused(ledger: Ledger) -> None:
    with ledger:
        pass
    with pytest.raises(LedgerError, match="was closed"):
        ledger.accounts()


def test_threads_share_one_object(ledger: Ledger) -> None:
    ledger.reserve(reservation(1, steps(24)))
    ledger.start(job_id(1), TREE)
    outcomes: list[str] = []

    def commit_all() -> None:
        for step in steps(24):
            try:
                ledger.commit(job_id(1), step.key)
                outcomes.append(step.key)
            except LedgerError:
                continue

    threads = [threading.Thread(target=commit_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == sorted({*outcomes})  # each step once
    assert ledger.account(POPULATION).rdp_committed == len(outcomes) * STEP
    assert ledger.verify().num_entries == 4 + len(outcomes)


def test_a_budget_is_the_same_for_any_split_into_jobs(ledger: Ledger) -> None:
    ledger.reserve(reservation(1, steps(7)))
    one = ledger.account(POPULATION).rdp_spent
    ledger.settle(job_id(1), "x")
    for number in range(2, 9):
        ledger.reserve(reservation(number, steps(1)))
    assert ledger.account(POPULATION).rdp_spent == one


def test_reserved_steps_are_those_of_the_reservation(ledger: Ledger) -> None:
    planned = (*steps(2), PlannedStep("accuracy", (pure(),)))
    ledger.reserve(reservation(1, planned))
    assert ledger.reserved_steps(job_id(1)) == planned
    with pytest.raises(LedgerError, match="no reservation"):
        ledger.reserved_steps(job_id(2))
