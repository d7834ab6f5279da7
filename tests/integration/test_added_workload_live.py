"""The walk-through of workloads/README.md: skeleton, wheel, pin, three sites, a job; then the code changes."""

import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.added_workloads import NAME, forget, write_skeleton

from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation, free_port
from almoner.flare.commands.session import JobReport, open_session
from almoner.flare.kits.provisioning import ProvisionedConsortium, provision
from almoner.flare.results.job_result import read_result
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.workloads.package_files import read_wheel
from almoner.workloads.registry import package_of

pytestmark = pytest.mark.slow
LEAD = "lead@site-a.example"
SITES = ("site-a", "site-b", "site-c")
JOB_SECONDS = 240.0
MARK = "\nimport os\nPath({folder!r}, str(os.getpid())).touch()\n"
"""Added to the skeleton's module: tells which processes import it."""


@dataclass(frozen=True)
class World:
    """What the walk-through makes.

    Args:
        installed: the folder of packages of the environment that all processes run in.
        importers: one file for each process that imported the workload.
    """

    consortium: ProvisionedConsortium
    federation: Federation
    spec: JobSpec
    installed: Path
    importers: Path


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=180)


def make_environment(folder: Path, wheel: Path) -> tuple[Path, Path]:
    """Make a virtual environment with all that this one has, and the wheel; return its python and its packages."""
    venv.create(folder, with_pip=False, symlinks=True)
    packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (packages / "this.pth").write_text("\n".join(path for path in sys.path if Path(path).is_dir()))
    pip("install", "--no-index", "--no-deps", "--no-compile", "--target", packages, wheel)
    return folder / "bin" / "python", packages


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    top = tmp_path_factory.mktemp("own-workload")
    own, importers = write_skeleton(top / NAME), top / "importers"
    importers.mkdir()
    module = own / "src" / NAME / "workload.py"
    module.write_text(module.read_text() + MARK.format(folder=str(importers)))
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", top, own)
    [wheel] = top.glob("*.whl")
    python, packages = make_environment(top / "venv", wheel)
    root, pin = own / "federation", read_wheel(wheel).digest
    for policy in root.glob("policies/site-*.yaml"):
        policy.write_text(policy.read_text().replace("0" * 64, pin))
    consortium = provision(root, top / "trial", free_port())
    subprocess.run([sys.executable, root / "make_tables.py", top / "trial"], check=True, timeout=180)
    spec = load_document(root / "jobs" / f"{NAME}.yaml", JobSpec)
    with pytest.MonkeyPatch.context() as patch, Federation(consortium) as running:
        patch.syspath_prepend(packages)
        patch.setattr(sys, "executable", str(python))
        running.start(lambda text: None)
        yield World(consortium, running, spec, packages, importers)
    forget(NAME)


def submit(world: World, folder: Path, download: bool = False) -> tuple[JobReport, list[float] | None]:
    """Run the job as it would be exported now, and fetch its model."""
    with open_session(world.consortium.user_kit(LEAD), world.spec.study) as session:
        job_id = session.submit(export_job(world.spec, world.consortium.declarations, folder))
        report = session.follow(job_id, lambda progress: None, JOB_SECONDS)
        return report, read_result(session.download(job_id, folder / "result")).model if download else None


@pytest.mark.threat("T-92")
def test_three_sites_train_a_workload_of_their_own(world: World, tmp_path: Path) -> None:
    report, model = submit(world, tmp_path, download=True)
    assert report.answers == dict.fromkeys(("server", *SITES), "OK")
    assert report.completed
    assert model is not None
    assert len(model) == 4
    assert np.abs(model).max() > 0
    importers = {int(path.name) for path in world.importers.iterdir()}
    assert len(importers) == len(SITES)  # the sites' job processes: no server, no site's parent process
    assert importers.isdisjoint(process.pid for process in world.federation._processes.values())


@pytest.mark.threat("T-90")
def test_the_sites_refuse_once_a_byte_is_changed(world: World, tmp_path: Path) -> None:
    before = package_of(NAME)
    module = world.installed / NAME / "workload.py"
    module.write_text(module.read_text().replace("outputs > 0", "outputs < 0"))
    assert package_of(NAME) != before
    report, _ = submit(world, tmp_path)
    assert not report.completed
    for site in SITES:
        assert "workload.digest" in report.answers[site]
