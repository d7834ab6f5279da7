"""A pack in which anything was changed, cut out or added does not verify, and the error names what it was."""

import base64
import io
import json
import random
import tracemalloc
import zipfile

import pytest
from tests.unit.audit.audit_cases import make_run, parts_of, sealed

from almoner.audit import parts as names
from almoner.audit.archive import read_archive, write_archive
from almoner.audit.pack_verify import verify_pack
from almoner.errors import EvidenceError
from almoner.schema.base import canonical_json

FLIPS_PER_PART = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    run = make_run(num_sites=2, num_rounds=2)
    parts = parts_of(run, tmp_path_factory.mktemp("run"))
    return run, parts, sealed(run, parts)


def error_of(data, root_pem):
    with pytest.raises(EvidenceError) as found:
        verify_pack(data, root_pem)
    assert "\n" not in str(found.value)
    return str(found.value)


def test_the_pack_itself_verifies_and_is_reproducible(made):
    run, parts, data = made
    verdict = verify_pack(data, run.root_pem)
    assert len(verdict.books) == 2
    assert {account["epsilon_spent"] > 0 for account in verdict.accounts()} == {True}
    assert write_archive(read_archive(data)) == data
    assert read_archive(data).keys() == {*parts, names.INDEX}


@pytest.mark.threat("T-142")
def test_every_changed_byte_is_found_and_its_part_named(made):
    run, _, data = made
    parts, randomness, count = read_archive(data), random.Random(11), 0
    for name, content in parts.items():
        start = data.index(content, data.index(name.encode()))
        for _ in range(FLIPS_PER_PART):
            at, bit = randomness.randrange(len(content)), 1 << randomness.randrange(8)
            flipped = content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]
            in_place = data[:start] + flipped + data[start + len(content) :]
            repacked = write_archive({**parts, name: flipped})  # with the checksum that fits
            for changed in (in_place, repacked):
                assert name in error_of(changed, run.root_pem)
                count += 1
    assert count >= 200


@pytest.mark.threat("T-142")
def test_every_byte_of_the_archive_around_the_parts_counts(made):
    run, _, data = made
    parts, at, places = read_archive(data), 0, []
    for name, content in sorted(parts.items()):
        places += [(at + offset, name) for offset in range(30 + len(name))]
        at += 30 + len(name) + len(content)
    randomness = random.Random(12)
    for place, name in randomness.sample(places, 150):
        message = error_of(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :], run.root_pem)
        known = name in message or "archive" in message
        assert known, (name, place, message)
    for place in randomness.sample(range(at, len(data)), 60):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        assert "archive" in error_of(changed, run.root_pem)
    for more in (data + b"x", data[:-1], data[: at // 2], b"", b"PK"):
        assert "archive" in error_of(more, run.root_pem) or "cut off" in error_of(more, run.root_pem)


@pytest.mark.threat("T-154")
def test_a_pack_that_would_expand_is_refused_before_it_does():
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(names.INDEX, bytes(1 << 25))
    data = bomb.getvalue()
    assert len(data) < 1 << 16
    tracemalloc.start()
    try:
        with pytest.raises(EvidenceError):
            read_archive(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.threat("T-142")
def test_every_dropped_part_is_missed_by_name(made):
    run, _, data = made
    parts = read_archive(data)
    for name in parts:
        rest = {other: content for other, content in parts.items() if other != name}
        assert f"{name}: missing" in error_of(write_archive(rest), run.root_pem)


@pytest.mark.threat("T-142")
def test_what_was_added_or_emptied_is_named(made):
    run, _, data = made
    parts = read_archive(data)
    assert error_of(write_archive({**parts, "notes.txt": b"x"}), run.root_pem).startswith("notes.txt: not in the index")
    for name in parts:
        assert name in error_of(write_archive({**parts, name: b""}), run.root_pem)


@pytest.mark.threat("T-142")
def test_an_index_that_was_written_anew_on_the_way(made):
    run, _, data = made
    parts = read_archive(data)
    envelope = json.loads(parts[names.INDEX])
    payload = json.loads(base64.b64decode(envelope["payload"]))
    payload["predicate"]["made"] = "2020-01-01T00:00:00+00:00"
    envelope["payload"] = base64.b64encode(canonical_json(payload)).decode()
    message = error_of(write_archive({**parts, names.INDEX: canonical_json(envelope)}), run.root_pem)
    assert f"{names.INDEX}: the signature of server.example does not verify" in message


def test_a_server_that_signs_its_index_anew_is_found_out_in_every_part(made):
    """What somebody else signed the server cannot change or leave out, whatever index it signs."""
    run, parts, _ = made
    randomness = random.Random(13)
    for name, content in parts.items():
        at = randomness.randrange(len(content))
        flipped = content[:at] + bytes([content[at] ^ 2]) + content[at + 1 :]
        message = error_of(sealed(run, {**parts, name: flipped}), run.root_pem)
        expected = (name, names.LOG_ENTRIES) if name == names.HEADS else (name,)
        assert any(part in message for part in expected), (name, message)
        rest = {other: kept for other, kept in parts.items() if other != name}
        assert name in error_of(sealed(run, rest), run.root_pem)
