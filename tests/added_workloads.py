"""Wheels that add a workload, made in memory from the skeleton and changed as an attacker would."""

import base64
import hashlib
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from almoner.schema.declarations import Declarations, load_declarations
from almoner.workloads.package_import import PackageFinder
from almoner.workloads.skeleton import render_skeleton

NAME = "readmission"
MODULE = f"{NAME}/workload.py"
DECLARATION = f"{NAME}/{NAME}.yaml"
ENTRY_POINTS = ".dist-info/entry_points.txt"
METADATA = ".dist-info/METADATA"


def wheel_files(name: str = NAME, workload: str = NAME) -> dict[str, str]:
    """Return the files of a wheel of the skeleton's, notes under `.dist-info/`, with another name if wanted."""
    rendered = render_skeleton(NAME)
    folder = name.replace("-", "_")
    files = {path.removeprefix("src/"): text for path, text in rendered.items() if path.startswith("src/")}
    files = {path.replace(f"{NAME}/", f"{folder}/", 1): text for path, text in files.items()}
    declaration = files.pop(f"{folder}/{NAME}.yaml").replace(f"workload: {NAME}", f"workload: {workload}")
    return files | {
        f"{folder}/{workload}.yaml": declaration,
        METADATA: f"Metadata-Version: 2.4\nName: {name}\nVersion: 0.1.0\n",
        ".dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ENTRY_POINTS: f"[almoner.workloads]\n{workload} = {folder}.workload:Readmission\n",
    }


def write_wheel(folder: Path, files: Mapping[str, str], name: str = NAME) -> Path:
    """Write a wheel, its RECORD last."""
    info = f"{name.replace('-', '_')}-0.1.0"
    named = {f"{info}{path}" if path.startswith(".dist-info") else path: text for path, text in files.items()}
    rows = []
    for path, text in named.items():
        sha = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={sha},{len(text.encode())}")
    record = f"{info}.dist-info/RECORD"
    named[record] = "\n".join([*rows, f"{record},,"]) + "\n"
    wheel = folder / f"{info}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in named.items():
            archive.writestr(path, text)
    return wheel


def install(target: Path, files: Mapping[str, str], name: str = NAME) -> Path:
    """Install a wheel of these files into a folder, as an installer does with pure Python."""
    with zipfile.ZipFile(write_wheel(target.parent, files, name)) as archive:
        archive.extractall(target)
    return target


def forget(*folders: str) -> None:
    """Take packages out of this process, as if it had never imported them."""
    sys.meta_path[:] = [found for found in sys.meta_path if not isinstance(found, PackageFinder)]
    for module in [module for module in sys.modules if module.partition(".")[0] in folders]:
        del sys.modules[module]


def write_skeleton(folder: Path) -> Path:
    """Write the skeleton's files; its `federation/` is a root of declarations."""
    for path, text in render_skeleton(NAME).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def pinning(root: Path, pins: dict[str, tuple[str, ...]] | None) -> Declarations:
    """Return the skeleton's three sites, all pinning the same."""
    found = load_declarations(root)
    policies = {
        site: policy.model_copy(update={"allow": policy.allow.model_copy(update={"workload_digests": pins})})
        for site, policy in found.policies.items()
    }
    return replace(found, policies=policies)
