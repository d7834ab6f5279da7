"""The digest of a deployed job folder: what was admitted is what is started."""

import hashlib
from pathlib import Path

from almoner.schema.base import digest


def tree_digest(files: dict[str, bytes]) -> str:
    """Return one digest over paths and contents."""
    return digest({path: hashlib.sha256(content).hexdigest() for path, content in files.items()})


def read_tree(folder: Path) -> dict[str, bytes]:
    """Return the contents of every file below a folder by relative path; links count as their own text."""
    return {
        path.relative_to(folder).as_posix(): f"link:{path.readlink()}".encode()
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }
