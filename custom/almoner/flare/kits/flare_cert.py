"""Calls `nvflare cert init / request / approve`, each in a process of its own with a home folder of its own.

FLARE's commands keep records under `~/.nvflare`, print, and exit; in a child process none of that reaches ours.
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from almoner.errors import ProvisioningError

TIMEOUT_SECONDS = 300.0


def _run(*arguments: str | Path) -> None:
    """Run one `nvflare cert` command.

    Raises:
        ProvisioningError: it failed; with FLARE's own message.
    """
    with tempfile.TemporaryDirectory(prefix="almoner-cert-") as home:
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "nvflare.cli", "cert", *map(str, arguments), "--output", "json"],
                env={"HOME": home, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                cwd=home,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ProvisioningError(
                f"nvflare cert {arguments[0]} took over {TIMEOUT_SECONDS:.0f} s → try again"
            ) from None
    if done.returncode:
        raise ProvisioningError(f"nvflare cert {arguments[0]} failed: {_message(done.stdout)}")


def _message(output: str) -> str:
    """Return the message out of FLARE's JSON, on one line."""
    try:
        return " ".join(str(json.loads(output)["message"]).split())
    except (ValueError, LookupError, TypeError):
        return "it gave no reason"


def make_root(profile: dict[str, Any], authority: Path) -> Path:
    """Make a consortium's root key and certificate in a folder; return the profile's file, which `approve` needs."""
    path = authority.resolve() / "profile.yaml"
    path.write_text(json.dumps(profile, indent=2) + "\n")
    _run("init", "--profile", path, "--output-dir", authority.resolve())
    return path


def make_request(participant: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """Make a key (mode 600) and a request for its certificate in a folder; return the paths of both."""
    name = participant["participants"][0]["name"]
    with tempfile.TemporaryDirectory(prefix="almoner-form-") as scratch:
        definition = Path(scratch) / "participant.yaml"
        definition.write_text(json.dumps(participant))
        _run("request", "--participant", definition, "--out", folder.resolve())
    return folder / f"{name}.key", folder / f"{name}.request.zip"


def approve_request(archive: bytes, name: str, authority: Path, profile: Path) -> bytes:
    """Have a request's certificate issued by the root; return it, PEM."""
    with tempfile.TemporaryDirectory(prefix="almoner-approve-") as scratch:
        request, signed = Path(scratch) / f"{name}.request.zip", Path(scratch) / f"{name}.signed.zip"
        request.write_bytes(archive)
        _run("approve", request, "--ca-dir", authority.resolve(), "--profile", profile.resolve(), "--out", signed)
        with zipfile.ZipFile(signed) as opened:
            return opened.read(f"{name}.crt")
