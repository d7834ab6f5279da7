"""A commitment says which data it was, to nobody but the site; it is never made while a job asks."""

import hashlib
import io
import json
import os
from pathlib import Path

import pytest

from almoner.data.commitment import (
    COMMITMENTS_FILE,
    SALT_FILE,
    commit_datasets,
    recorded_commitment,
    recorded_release_version,
)
from almoner.errors import DataError, DocumentError

RECORDS = b"id,age\na,61\nb,47\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "heart.csv"
    path.write_bytes(RECORDS)
    return path


def commit(folder: Path, data: Path) -> str:
    return commit_datasets(folder, {"heart": data}).datasets["heart"].commitment


def test_equal_bytes_are_equal_at_one_site_and_not_at_two(tmp_path: Path, data: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    first = commit(one, data)
    assert commit(one, data) == first
    assert commit(other, data) != first
    data.write_bytes(RECORDS + b"c,50\n")
    assert commit(one, data) != first


@pytest.mark.threat("T-31")
def test_who_knows_all_records_but_one_cannot_confirm_that_one(tmp_path: Path, data: Path) -> None:
    guesses = [b"id,age\na,61\n" + f"b,{age}\n".encode() for age in range(18, 100)]
    plain = hashlib.sha256(data.read_bytes()).hexdigest()
    assert [guess for guess in guesses if hashlib.sha256(guess).hexdigest() == plain] == [RECORDS]  # without a salt
    salted = commit(tmp_path, data)
    assert not [guess for guess in guesses if hashlib.sha256(guess).hexdigest() == salted]
    assert commit(tmp_path / "attacker", data) != salted  # by the code that the site runs, with a salt of its own


def test_salt_and_commitments_are_for_the_site_alone(tmp_path: Path, data: Path) -> None:
    commit(tmp_path, data)
    for name in (SALT_FILE, COMMITMENTS_FILE):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    (tmp_path / SALT_FILE).chmod(0o644)
    with pytest.raises(DataError, match="open to other users"):
        commit(tmp_path, data)


def test_a_file_that_was_touched_since_has_none(tmp_path: Path, data: Path) -> None:
    assert recorded_commitment(tmp_path, "heart", data) == ""
    made = commit(tmp_path, data)
    assert recorded_commitment(tmp_path, "heart", data) == made
    assert recorded_commitment(tmp_path, "other", data) == ""
    os.utime(data, ns=(0, 0))
    assert recorded_commitment(tmp_path, "heart", data) == ""
    commit(tmp_path, data)
    data.unlink()
    assert recorded_commitment(tmp_path, "heart", data) == ""


@pytest.mark.threat("T-31")
@pytest.mark.parametrize("replaced", [False, True])
def test_other_bytes_of_the_same_size_and_time_have_none(tmp_path: Path, data: Path, replaced: bool) -> None:
    made, before = commit(tmp_path, data), data.stat()
    written = tmp_path / "other.csv" if replaced else data
    written.write_bytes(RECORDS.replace(b"61", b"62"))
    os.utime(written, ns=(before.st_atime_ns, before.st_mtime_ns))
    written.replace(data)
    after = data.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert recorded_commitment(tmp_path, "heart", data) == ""
    assert commit(tmp_path, data) != made


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, data: Path) -> None:
    data.write_bytes(RECORDS * 100_000)
    os.utime(data, ns=(0, 0))  # some systems' clock for files stands still for milliseconds

    class Touched(io.FileIO):
        """Somebody touches the file once the first part was read."""

        def read(self, size: int = -1) -> bytes:
            part = super().read(size)
            if self.tell() <= len(part):
                os.utime(data)
            return part

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode: Touched(path, mode))
        with pytest.raises(DataError, match="changed while it was read"):
            commit(tmp_path, data)
    assert recorded_commitment(tmp_path, "heart", data) == ""


def test_asking_for_it_opens_no_data(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, opened, real = commit(tmp_path, data), [], Path.open

    def recording(path: Path, *arguments: object, **options: object) -> object:
        opened.append(path)
        return real(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", recording)
    assert recorded_commitment(tmp_path, "heart", data) == made
    assert opened == [tmp_path / COMMITMENTS_FILE]


@pytest.mark.threat("T-51")
def test_a_release_version_is_of_the_act_not_of_the_content(tmp_path: Path, data: Path) -> None:
    assert recorded_release_version(tmp_path, "heart") is None
    commit(tmp_path, data)
    first = recorded_release_version(tmp_path, "heart")
    assert first is not None
    data.write_bytes(RECORDS + b"c,50\n")
    assert recorded_release_version(tmp_path, "heart") == first
    data.unlink()
    assert recorded_release_version(tmp_path, "heart") == first
    assert recorded_release_version(tmp_path, "other") is None
    data.write_bytes(RECORDS)
    commit(tmp_path, data)
    assert recorded_release_version(tmp_path, "heart") not in (None, first)


def test_commitments_of_before_there_were_versions_are_read(tmp_path: Path, data: Path) -> None:
    made, path = commit(tmp_path, data), tmp_path / COMMITMENTS_FILE
    content = json.loads(path.read_text())
    del content["release_version"]
    path.write_text(json.dumps(content))
    assert recorded_commitment(tmp_path, "heart", data) == made
    assert recorded_release_version(tmp_path, "heart") is None


def test_faults(tmp_path: Path, data: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        commit(tmp_path, tmp_path / "missing.csv")
    commit(tmp_path, data)
    (tmp_path / COMMITMENTS_FILE).write_text("{}")
    with pytest.raises(DocumentError):
        recorded_commitment(tmp_path, "heart", data)
