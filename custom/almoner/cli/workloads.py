"""`almoner workload`: packages that add a workload, from the first file to what a policy pins."""

from pathlib import Path
from typing import Annotated, Any

import typer

from almoner.cli.app import console, new_group, print_json
from almoner.errors import DocumentError
from almoner.schema.base import digest
from almoner.workloads.package_files import read_wheel
from almoner.workloads.packages import declared_workloads
from almoner.workloads.registry import InstalledWorkload, inventory, of_package, workload_digest
from almoner.workloads.skeleton import render_skeleton

app = new_group("Add a workload of your own, list them, look at a wheel.")

JSON_OPTION = typer.Option("--json", help="print JSON for scripts")
OWN = "almoner"


@app.command("new")
def new_command(
    name: Annotated[str, typer.Argument(help="the workload's name, such as readmission")],
    out: Annotated[Path | None, typer.Option("--out", help="a new folder; ./NAME if left out")] = None,
) -> None:
    """Write a package with a small workload, its tests, and the declarations of three sites to try it on.

    Example: almoner workload new readmission
    """
    folder = out or Path(name)
    files = render_skeleton(name)
    if folder.exists():
        raise DocumentError(f"{folder}: is there already → give another --out")
    try:
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content)
    except OSError as error:
        raise DocumentError(f"{folder}: cannot be written: {error.strerror} → give another --out") from None
    console.print(f"wrote {len(files)} files in {folder}: begin with {folder / 'README.md'}")


@app.command("list")
def list_command(as_json: Annotated[bool, JSON_OPTION] = False) -> None:
    """List the installed workloads with what a policy may pin, and where each comes from. None is imported.

    Example: almoner workload list
    """
    found = inventory()
    if as_json:
        usable = {name: _facts(name, known) for name, known in found.usable.items()}
        print_json({"workloads": usable, "refused": found.refused})
        return
    for name, known in found.usable.items():
        _show(name, known)
    for reason in found.refused.values():
        console.print(f"cannot be used: {reason}")


@app.command("inspect")
def inspect_command(
    wheel: Annotated[Path, typer.Argument(help="a .whl file that is not installed yet")],
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Check that a wheel does nothing by being installed, and print what to pin. Nothing of it is run.

    Example: almoner workload inspect dist/readmission-0.1.0-py3-none-any.whl
    """
    package = read_wheel(wheel)
    found = {name: of_package(added) for name, added in declared_workloads(package).items()}
    if as_json:
        files = {path: digest(content) for path, content in package.files.items()}
        print_json({"workloads": {name: _facts(name, known) for name, known in found.items()}, "files": files})
        return
    for name, known in found.items():
        _show(name, known)
    console.print(f"{len(package.files)} files, all below {package.folder}/; read them before you pin the digest")


def _facts(name: str, known: InstalledWorkload) -> dict[str, Any]:
    """Return what is known of a workload, for scripts."""
    return {
        "digest": workload_digest(name) if known.package is None else known.package.digest,
        "initial_weights": known.initial_weights,
        "dimension": known.dimension,
        "units": known.units,
        "from": OWN if known.package is None else known.package.origin,
    }


def _show(name: str, known: InstalledWorkload) -> None:
    """Print what is known of a workload, for people."""
    facts = _facts(name, known)
    console.print(f"{name}: {known.dimension} parameters, unit {'/'.join(known.units)}, from {facts['from']}")
    console.print(f"  workload_digests {facts['digest']}")
    console.print(f"  initial_weights  {facts['initial_weights']}")
