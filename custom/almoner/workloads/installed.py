"""Digests of the package's own files as they are installed here.

They say which code a decision was made for and by. They do not protect a site against whoever can write its
files: such a person can change this module too.
"""

from functools import lru_cache
from pathlib import Path

from almoner.schema.base import digest

PACKAGE = Path(__file__).resolve().parents[1]


def source_digest(paths: tuple[str, ...]) -> str:
    """Return the SHA-256 over files of the package, by their names and contents.

    Args:
        paths: files below the package, such as "workloads/base.py"; the order does not matter.
    """
    return digest({path: digest((PACKAGE / path).read_bytes()) for path in paths})


@lru_cache(maxsize=1)
def package_digest() -> str:
    """Return the digest of all Python files of the package; read once in a process."""
    return source_digest(tuple(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")))
