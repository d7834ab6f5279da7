"""Reads single files of kits and folders, for logs and evidence: what is missing is one clear line."""

import json
from pathlib import Path
from typing import Any

from almoner.errors import EvidenceError
from almoner.flare.site.site_files import ROOT_CA


def read_file(path: Path) -> bytes:
    """Read a file.

    Raises:
        EvidenceError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"{path}: {error.strerror} → give a file, or a server's or site's folder") from None


def read_mapping(data: bytes, path: Path) -> dict[str, Any]:
    """Read a JSON mapping.

    Raises:
        EvidenceError: it is none.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise EvidenceError(f"{path}: not a JSON mapping → restore it from its backup")
    return value


def read_root(kit: Path) -> bytes:
    """Read the root certificate of a kit, PEM."""
    return read_file(kit / ROOT_CA)


def read_server_name(kit: Path) -> str:
    """Read out of a site's kit, which the root signed, to whom the server's certificate was issued.

    Raises:
        EvidenceError: the kit does not say it.
    """
    path = kit / "startup" / "fed_client.json"
    try:
        return str(read_mapping(read_file(path), path)["servers"][0]["identity"])
    except (LookupError, TypeError):
        raise EvidenceError(f"{path}: names no server → restore the kit") from None
