"""The files of a package that adds workloads, as bytes: out of a wheel, or as they are installed. Nothing of it is run.

The rules, each of which is an error when broken:

1. Its one folder of code bears the package's name (`-` as `_`), and no name of Python's or of Almoner's.
2. Every file is in that folder, or in the notes that installers keep beside it. So there is no `.pth` file, which
   Python would run at each start, no script, and no module that would stand in for another's.
3. It has entry points of the group `almoner.workloads` alone: pydantic, torch and others import what stands in theirs.
4. It is small enough to be read for every decision.

What the digest is taken over is what is imported from later (`package_import`): the same bytes.
"""

import csv
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from functools import cached_property
from importlib.metadata import Distribution, packages_distributions
from pathlib import Path, PurePosixPath

from almoner.errors import DataError
from almoner.schema.base import digest

GROUP = "almoner.workloads"
MAX_FILES, MAX_BYTES = 1000, 16 * 2**20

_INFO = ".dist-info"
_ENTRY_POINTS, _METADATA = "entry_points.txt", "METADATA"
_NAME, _VERSION = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*"), re.compile(r"[0-9A-Za-z.+!_-]{1,64}")
RESERVED = frozenset({*sys.stdlib_module_names, "almoner", "nvflare", "torch", "numpy", "pydantic"})
"""Names that no package may have."""


@dataclass(frozen=True, eq=False)
class WorkloadPackage:
    """One package that keeps the rules above.

    Args:
        name, version: the distribution's.
        files: content by path; the folder of code, then METADATA and entry_points.txt of what is beside it.
        entry_points: workload → "module:class", as declared.
    """

    name: str
    version: str
    files: Mapping[str, bytes] = field(repr=False)
    entry_points: Mapping[str, str]

    @property
    def folder(self) -> str:
        """The name of its folder, which is that of its import package."""
        return self.name.replace("-", "_")

    @property
    def origin(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"

    @cached_property
    def digest(self) -> str:
        """The SHA-256 over names and contents of all its files: what a policy pins."""
        return digest({path: digest(content) for path, content in self.files.items()})


def read_wheel(path: Path) -> WorkloadPackage:
    """Read a wheel that is not installed.

    Raises:
        DataError: it is no wheel, breaks a rule, or would write into the folder of another installed package.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            sizes = {member.filename: member.file_size for member in members}
            if len(sizes) != len(members):
                raise DataError(f"{path}: holds a file twice → build it anew")
            package = _read(sizes, archive.read, str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror} → give a wheel") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError):
        raise DataError(f"{path}: not a wheel → give the .whl file that `pip wheel` wrote") from None
    owners = {_one_spelling(owner) for owner in packages_distributions().get(package.folder, ())} - {package.name}
    if owners:
        raise DataError(f"{path}: {package.folder}/ is a folder of {min(owners)} → give the package another name")
    return package


def read_installed(found: Distribution, where: str) -> WorkloadPackage:
    """Read a package as it is installed, by the list that its installer kept.

    Args:
        where: begins the text of errors.

    Raises:
        DataError: it cannot be read, or breaks a rule.
    """
    try:
        paths = [str(path) for path in found.files or ()]
        places = {path: Path(str(found.locate_file(path))) for path in paths if "__pycache__" not in path}
        sizes = {path: place.stat().st_size for path, place in places.items()}
        return _read(sizes, lambda path: places[path].read_bytes(), where)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{where}: a file that it lists cannot be read: {type(error).__name__} → reinstall") from None


def read_entry_points(text: str, where: str) -> dict[str, dict[str, str]]:
    """Parse `entry_points.txt`: group → name → value.

    Raises:
        DataError: it cannot be parsed, or has an entry twice.
    """
    parser = ConfigParser(delimiters="=", interpolation=None, default_section="")
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    try:
        parser.read_string(text)
        return {group: dict(parser.items(group)) for group in parser.sections()}
    except ConfigError:
        raise DataError(f"{where}: {_ENTRY_POINTS} cannot be parsed, or has an entry twice → build it anew") from None


def _read(sizes: Mapping[str, int], read: Callable[[str], bytes], where: str) -> WorkloadPackage:
    """Check the rules on paths and sizes, then read."""
    infos = [path.removesuffix(f"/{_METADATA}") for path in sizes if path.endswith(f"{_INFO}/{_METADATA}")]
    if len(infos) != 1 or "/" in infos[0]:
        raise DataError(f"{where}: has no metadata, or several → give a wheel, built by `pip wheel`")
    if len(sizes) > MAX_FILES or sum(sizes.values()) > MAX_BYTES:
        raise DataError(f"{where}: more than {MAX_FILES} files or {MAX_BYTES} bytes → leave out what is not code")
    name, version = _identity(read(f"{infos[0]}/{_METADATA}"), where)
    folder = name.replace("-", "_")
    if _one_spelling(infos[0].removesuffix(_INFO)) != _one_spelling(f"{name}-{version}"):
        raise DataError(f"{where}: {infos[0]!r:.60} are the notes of another package → build it anew")
    if folder in RESERVED:
        raise DataError(f"{where}: {folder} is the name of another module → give the package another name")
    _check_paths(sizes, folder, infos[0], where)
    entry_points = _entry_points(sizes, read, f"{infos[0]}/{_ENTRY_POINTS}", where)
    files = {path: read(path) for path in sorted(sizes) if _is_of(path, folder) and "__pycache__" not in path}
    files |= {f"{_INFO}/{file}": read(f"{infos[0]}/{file}") for file in (_METADATA, _ENTRY_POINTS)}
    return WorkloadPackage(name, version, files, entry_points)


def _identity(metadata: bytes, where: str) -> tuple[str, str]:
    """Return the distribution's name and version."""
    headers = BytesHeaderParser().parsebytes(metadata)
    name = _one_spelling(str(headers.get("Name", "")))
    version = str(headers.get("Version", ""))
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        raise DataError(f"{where}: its name or version is not plain → letters, digits and '-'")
    return name, version


def _one_spelling(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _check_paths(paths: Iterable[str], folder: str, info: str, where: str) -> None:
    """Refuse every file that is outside the package's folder and its notes."""
    for path in paths:
        if not _is_of(path, folder) and not _is_of(path, info):
            shown = "".join(char if char.isprintable() else "?" for char in path)[:80]
            raise DataError(f"{where}: {shown} is outside {folder}/ → build a wheel with this one folder")
    if f"{folder}/__init__.py" not in paths:
        raise DataError(f"{where}: has no {folder}/__init__.py → name its folder as the package")


def _is_of(path: str, folder: str) -> bool:
    """Whether a path is a plain one below a folder."""
    parts = PurePosixPath(path).parts
    return len(parts) > 1 and parts[0] == folder and ".." not in parts and "/".join(parts) == path and "\\" not in path


def _entry_points(sizes: Mapping[str, int], read: Callable[[str], bytes], path: str, where: str) -> dict[str, str]:
    """Return the workloads that a package names, after looking for groups that others import."""
    try:
        text = read(path).decode() if path in sizes else ""
    except UnicodeDecodeError:
        raise DataError(f"{where}: {_ENTRY_POINTS} is not text → build it anew") from None
    groups = read_entry_points(text, where)
    if strays := sorted(set(groups) - {GROUP}):
        raise DataError(f"{where}: has entry points of other groups than {GROUP}: {strays[0]!r:.60} → leave them out")
    if not groups.get(GROUP):
        raise DataError(f"{where}: adds no workload → name one under [{GROUP}]")
    return groups[GROUP]
