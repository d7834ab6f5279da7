"""A pinned file of a package registry, out of which a public data set is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ArchiveKind = Literal["pypi", "npm"]

Members = Mapping[str, bytes]
"""Files of an archive by their paths inside it."""

_SUFFIXES: dict[ArchiveKind, str] = {"pypi": ".whl", "npm": ".tgz"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One release of one package.

    Args:
        kind: `pypi`: a wheel. `npm`: a tarball.
        package: name in the registry.
        version: exact version.
        sha256: digest of the archive, in hexadecimal.
        members: what is read: paths inside, or patterns such as `plays/*.md`, in which `*` matches slashes too.
    """

    kind: ArchiveKind
    package: str
    version: str
    sha256: str
    members: tuple[str, ...]

    @property
    def title(self) -> str:
        """The release as the registry's client spells it."""
        return f"{self.package}{'==' if self.kind == 'pypi' else '@'}{self.version}"

    @property
    def file_name(self) -> str:
        """The name under which caches keep it."""
        return self.sha256 + _SUFFIXES[self.kind]
