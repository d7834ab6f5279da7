"""The workloads that installed packages add: what is known of them without importing anything of theirs.

An entry point of the group `almoner.workloads` names a workload, its module and its class; `<workload>.yaml` in the
package's folder declares the rest. Here a package is only read. Whether it may run is the policy's to say, which must
pin its digest.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from almoner.errors import DataError, DocumentError
from almoner.schema.documents import parse_document
from almoner.schema.workload import WorkloadDeclaration
from almoner.workloads.package_files import GROUP, WorkloadPackage, read_installed

_VALUE = re.compile(r"([a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)*)\s*:\s*([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class AddedWorkload:
    """A workload of an installed package.

    Args:
        module, class_name: where it is in the package.
        declaration: what the package says of it.
    """

    package: WorkloadPackage
    module: str
    class_name: str
    declaration: WorkloadDeclaration


@dataclass(frozen=True)
class AddedWorkloads:
    """What was found.

    Args:
        usable: by name.
        refused: workload, or package where none can be named → why it cannot be used, in one line.
    """

    usable: dict[str, AddedWorkload]
    refused: dict[str, str]


def declared_workloads(package: WorkloadPackage) -> dict[str, AddedWorkload]:
    """Return the workloads of one package.

    Raises:
        DataError, DocumentError: an entry point or a declaration is not of the expected form.
    """
    return {name: _declared(package, name, value) for name, value in package.entry_points.items()}


def added_workloads(built_in: Collection[str]) -> AddedWorkloads:
    """Return the workloads of all installed packages.

    Guarantee: a name means one workload. One that Almoner itself has stays Almoner's; one that two packages have is
    refused to both. `-` and `_` make no difference between names.

    Args:
        built_in: the names of Almoner's own workloads.
    """
    packages, refused = _installed_packages()
    found: dict[str, list[AddedWorkload]] = {}
    for package in packages:
        try:
            for name, added in declared_workloads(package).items():
                found.setdefault(name, []).append(added)
        except (DataError, DocumentError) as error:
            refused[package.name] = str(error)
    owners: dict[str, set[str]] = {_spelled_alike(name): {"almoner itself"} for name in built_in}
    for name, several in found.items():
        owners.setdefault(_spelled_alike(name), set()).update(added.package.origin for added in several)
    usable = {}
    for name, several in found.items():
        rivals = owners[_spelled_alike(name)]
        if len(rivals) == 1:
            usable[name] = several[0]
        else:
            refused[name] = f"workload '{name}': named by {' and by '.join(sorted(rivals))} → keep one, or rename one"
    return AddedWorkloads(usable, refused)


def _spelled_alike(name: str) -> str:
    """Return what names have in common that people take for one."""
    return name.replace("-", "_")


def _declared(package: WorkloadPackage, name: str, value: str) -> AddedWorkload:
    """Check one entry point, and read its declaration."""
    match = _VALUE.fullmatch(value)
    module = match[1] if match else ""
    places = (f"{module.replace('.', '/')}.py", f"{module.replace('.', '/')}/__init__.py")
    if not match or module.partition(".")[0] != package.folder or not any(place in package.files for place in places):
        raise DataError(f"{package.origin}: {name!r:.60} is not a class in it → {package.folder}.<module>:<Class>")
    path = f"{package.folder}/{name}.yaml"
    if path not in package.files:
        raise DataError(f"{package.origin}: has no {path!r:.80} → declare the workload there")
    text = package.files[path].decode(errors="replace")
    declaration = parse_document(text, WorkloadDeclaration, f"{package.origin}: {path}")
    if declaration.workload != name:
        raise DataError(f"{package.origin}: {path}: workload: is {declaration.workload} → {name}, as the entry point")
    return AddedWorkload(package, module, match[2], declaration)


def _installed_packages() -> tuple[list[WorkloadPackage], dict[str, str]]:
    """Read every installed package that has an entry point of the group, and say of the others why not."""
    packages, refused = dict[str, list[WorkloadPackage]](), dict[str, str]()
    for where, found in _candidates().items():
        try:
            package = read_installed(found, where.name)
        except DataError as error:
            refused[where.name] = str(error)
        else:
            packages.setdefault(package.name, []).append(package)
    for name, several in packages.items():
        if len(several) > 1:
            refused[name] = f"package {name}: installed at {len(several)} places → uninstall all but one"
    return [several[0] for several in packages.values() if len(several) == 1], refused


def _candidates() -> dict[Path, Distribution]:
    """Return, by their folder of notes, the installed distributions whose entry points speak of workloads."""
    candidates = {}
    for found in distributions():
        try:
            text = found.read_text("entry_points.txt") or ""
        except (OSError, ValueError):
            continue
        if GROUP in text:
            candidates[Path(str(getattr(found, "_path", found.locate_file("unnamed")))).resolve()] = found
    return candidates
