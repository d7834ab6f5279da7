"""Imports a package from the bytes that its digest was taken over, not from the disk a second time.

So nothing can be exchanged between the comparison of the digest and the import. What the package itself imports from
elsewhere comes from the site's installation, and is not in the digest.
"""

import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

from almoner.errors import PolicyViolation
from almoner.workloads.package_files import WorkloadPackage

_LOCK = threading.Lock()


class PackageFinder(MetaPathFinder, SourceLoader):  # type: ignore[misc]
    """Finds and loads the modules of one package; there is no bytecode, no compiled module, and no other place.

    A module reads a file of its package by `pkgutil.get_data(__package__, "words.txt")`.
    """

    def __init__(self, package: WorkloadPackage) -> None:
        self.package = package
        self._root = f"<{package.origin}>/"

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module of the package is; None for those of others.

        Raises:
            ModuleNotFoundError: the package has no such module.
        """
        if fullname.partition(".")[0] != self.package.folder:
            return None
        self._file_of(fullname)
        return spec_from_loader(fullname, self)

    def get_filename(self, fullname: str) -> str:
        """Return the name under which tracebacks show a module."""
        return self._root + self._file_of(fullname)

    def get_data(self, path: str) -> bytes:
        """Return the content of a file of the package."""
        name = str(path).removeprefix(self._root)
        if name not in self.package.files:
            raise FileNotFoundError(name)
        return self.package.files[name]

    def _file_of(self, fullname: str) -> str:
        base = fullname.replace(".", "/")
        for name in (f"{base}/__init__.py", f"{base}.py"):
            if name in self.package.files:
                return name
        raise ModuleNotFoundError(f"{self.package.origin} has no module {fullname}", name=fullname)


def import_from(package: WorkloadPackage, module: str) -> ModuleType:
    """Import a module of a package. A process imports one version of a package, and from here alone.

    Raises:
        PolicyViolation: another version of it, or something else of its name, was imported before.
    """
    with _LOCK:
        ours = [found for found in sys.meta_path if isinstance(found, PackageFinder)]
        before = next((found.package for found in ours if found.package.folder == package.folder), None)
        if before is None and package.folder not in sys.modules:
            sys.meta_path.insert(0, PackageFinder(package))
        elif before is None or before.digest != package.digest:
            raise PolicyViolation(f"package {package.origin}: another {package.folder} was imported → start anew")
    return import_module(module)
