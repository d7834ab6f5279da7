"""A commitment to a folder is to the names and contents of all in it; a touched folder has none."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from almoner.data.commitment import commit_datasets, recorded_commitment
from almoner.data.file_marks import mark_of
from almoner.errors import DataError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    (folder / "p1").mkdir(parents=True)
    (folder / "labels.csv").write_text("record_id,unit_id,file,label\n")
    os.utime(folder / "labels.csv", ns=(0, 0))  # some systems' clock for files stands still for milliseconds
    (folder / "p1" / "a").write_bytes(b"one")
    (folder / "p1" / "b").write_bytes(b"two")
    return folder


def commit(folder: Path, images: Path) -> str:
    return commit_datasets(folder, {"neuro": images}).datasets["neuro"].commitment


def changed(folder: Path) -> None:
    before = (folder / "p1" / "a").stat()
    (folder / "p1" / "a").write_bytes(b"ONE")
    os.utime(folder / "p1" / "a", ns=(before.st_atime_ns, before.st_mtime_ns))


def added(folder: Path) -> None:
    (folder / "p1" / "c").write_bytes(b"three")


def missing(folder: Path) -> None:
    (folder / "p1" / "b").unlink()


def renamed(folder: Path) -> None:
    (folder / "p1" / "b").rename(folder / "p1" / "c")


def swapped(folder: Path) -> None:
    for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
        (folder / "p1" / old).rename(folder / "p1" / new)


def nested(folder: Path) -> None:
    """Take a series away from its reader, who takes folders for slices that cannot be read."""
    (folder / "p1" / "empty").mkdir()


@pytest.mark.threat("T-116")
@pytest.mark.parametrize("touch", [changed, added, missing, renamed, swapped, nested])
def test_one_image_of_many(tmp_path: Path, images: Path, touch: Callable[[Path], None]) -> None:
    made, folder_alone = commit(tmp_path, images), images.stat()
    assert recorded_commitment(tmp_path, "neuro", images) == made
    touch(images)
    after = images.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (  # what a mark of the folder itself would tell
        folder_alone.st_ino,
        folder_alone.st_mtime_ns,
        folder_alone.st_ctime_ns,
    )
    assert recorded_commitment(tmp_path, "neuro", images) == ""
    assert commit(tmp_path, images) != made


def test_equal_folders_are_equal_at_one_site_and_not_at_two(tmp_path: Path, images: Path) -> None:
    copied = shutil.copytree(images, tmp_path / "copy")
    made = commit_datasets(tmp_path, {"one": images, "other": copied}).datasets
    assert made["one"].commitment == made["other"].commitment
    assert commit(tmp_path / "elsewhere", images) != made["one"].commitment


def test_where_one_file_ends_and_the_next_begins_counts(tmp_path: Path, images: Path) -> None:
    made = commit(tmp_path, images)
    (images / "p1" / "a").write_bytes(b"onet")
    (images / "p1" / "b").write_bytes(b"wo")
    assert commit(tmp_path, images) != made


def test_asking_for_it_opens_nothing(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    monkeypatch.setattr(Path, "open", lambda path, *_: opened.append(path))
    assert mark_of(images) == mark_of(images)
    assert opened == []


def test_a_link_is_refused_and_voids_the_commitment(tmp_path: Path, images: Path) -> None:
    commit(tmp_path, images)
    (images / "p2").symlink_to(images / "p1")
    assert recorded_commitment(tmp_path, "neuro", images) == ""
    with pytest.raises(DataError, match="p2: a link, a pipe or a device → put the file itself"):
        commit(tmp_path, images)


def test_a_folder_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def touching(path: Path, mode: str) -> object:
        if path.parent == images / "p1":
            os.utime(images / "labels.csv")
        return real(path, mode)

    monkeypatch.setattr(Path, "open", touching)
    with pytest.raises(DataError, match="changed while it was read"):
        commit(tmp_path, images)


def test_a_folder_in_place_of_a_file_has_no_commitment(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"a,b\n")
    commit(tmp_path, path)
    path.unlink()
    path.mkdir()
    assert recorded_commitment(tmp_path, "neuro", path) == ""
