"""The log on disk: a cut at every byte loses nothing that was acknowledged, and damage is an error."""

import multiprocessing

import pytest
from tests.unit.audit.audit_cases import key, pem_of

from almoner.audit.log_file import MAGIC, MAX_ENTRY_BYTES, TransparencyLog
from almoner.errors import EvidenceError

OLD, NEW = [b"first", b"", b"third"], [b"fourth", b"fifth"]


def log_in(folder, entries=OLD):
    log = TransparencyLog(folder)
    log.append(entries)
    return log


def test_entries_come_back_in_order(tmp_path):
    assert log_in(tmp_path).append(NEW) == 5
    assert TransparencyLog(tmp_path).entries() == (*OLD, *NEW)
    assert TransparencyLog(tmp_path / "none").entries() == ()


def test_a_cut_at_any_byte_leaves_a_beginning_that_can_be_continued(tmp_path):
    log, path = log_in(tmp_path), tmp_path / "entries.log"
    durable = path.stat().st_size
    log.append(NEW)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        found = TransparencyLog(tmp_path).entries()
        assert found == (*OLD, *NEW)[: len(found)]
        assert len(found) >= (3 if cut >= durable else 0)
        if cut % 17:
            continue  # to continue a log waits for the disk
        TransparencyLog(tmp_path).append([b"after"])
        assert TransparencyLog(tmp_path).entries() == (*found, b"after")


def test_one_object_goes_on_where_it_and_others_stopped(tmp_path):
    log, other = TransparencyLog(tmp_path), TransparencyLog(tmp_path)
    assert log.append([]) == 0
    assert log.append(OLD) == 3
    assert other.append(NEW) == 5
    assert log.append([b"sixth"]) == 6
    path = tmp_path / "entries.log"
    path.write_bytes(path.read_bytes() + b"unfinished")
    assert log.append([b"seventh"]) == 7
    assert other.entries() == (*OLD, *NEW, b"sixth", b"seventh")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(EvidenceError, match="cut off while in use"):
        log.append([b"eighth"])


def test_a_tail_of_zeros_is_a_cut(tmp_path):
    log, path = log_in(tmp_path), tmp_path / "entries.log"
    path.write_bytes(path.read_bytes() + bytes(100))
    assert log.entries() == tuple(OLD)
    log.append([b"after"])
    assert log.entries() == (*OLD, b"after")


@pytest.mark.threat("T-148")
def test_a_flipped_byte_before_the_last_entry_is_damage(tmp_path):
    log, path = log_in(tmp_path, [b"first", b"second"]), tmp_path / "entries.log"
    whole = path.read_bytes()
    for at in range(len(MAGIC), len(whole) - len(b"second") - 40):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(EvidenceError, match="entry 0 is damaged"):
            log.entries()


@pytest.mark.threat("T-148")
def test_what_a_signed_head_covers_is_missed_when_it_is_cut_off(tmp_path):
    log, path = log_in(tmp_path), tmp_path / "entries.log"
    size = path.stat().st_size
    log.append(NEW)
    signed = log.publish("a" * 64, pem_of(key(1)))
    assert signed == log.head()
    assert (signed.head.size, signed.head.root) == (5, log.tree().root().hex())
    signed.verify(key(1).public_key())
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(EvidenceError, match="has 3 entries, its signed head 5"):
        TransparencyLog(tmp_path).append([b"after"])


def test_two_processes_append_in_turn(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append_often, args=(tmp_path, name)) for name in (b"a", b"b")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sorted(TransparencyLog(tmp_path).entries()) == [b"a"] * 8 + [b"b"] * 8


def _append_often(folder, name):
    for _ in range(8):
        TransparencyLog(folder).append([name])


def test_what_is_no_log_is_refused(tmp_path):
    (tmp_path / "entries.log").write_bytes(b"something else")
    with pytest.raises(EvidenceError, match="not a transparency log"):
        TransparencyLog(tmp_path).entries()
    with pytest.raises(EvidenceError, match="log its digest"):
        TransparencyLog(tmp_path / "new").append([bytes(MAX_ENTRY_BYTES + 1)])
    log = log_in(tmp_path / "head")
    (tmp_path / "head" / "head.json").write_text("{}")
    with pytest.raises(EvidenceError, match="not a signed head"):
        log.entries()
