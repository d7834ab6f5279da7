"""A reviewer verifies a pack and makes a page of it, with the packages that the README names.

In another process, an empty folder and home.
"""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from tests.unit.audit.audit_cases import make_run, parts_of, sealed

pytestmark = pytest.mark.slow

BLOCKED = """
import sys
heavy = set(sys.argv.pop(1).split(","))
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in heavy:
            raise ImportError(name + " is not installed")
sys.meta_path.insert(0, Blocker())
from almoner.cli.main import main
main()
"""


def _name(requirement: str) -> str:
    return re.split(r"[<>=]", requirement)[0].lower()


@pytest.fixture(scope="module")
def heavy(root: Path) -> set[str]:
    """Return the modules of all dependencies that the README does not name for a reviewer."""
    listed = re.findall(r"^pip install -c constraints\.txt (.+)$", (root / "README.md").read_text(), re.MULTILINE)
    light = set(listed[-1].lower().split())
    declared = set(map(_name, tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]))
    assert light < declared
    owners = packages_distributions().items()
    return {module for module, names in owners if {name.lower() for name in names} & (declared - light)}


def run_with(heavy: set[str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as where these modules are not installed."""
    return subprocess.run(
        [sys.executable, "-P", "-c", BLOCKED, ",".join(sorted(heavy)), *arguments],
        cwd=folder,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_pack_verifies_without_flare_and_torch(heavy: set[str], tmp_path: Path) -> None:
    assert {"torch", "nvflare", "opacus", "tenseal", "matplotlib", "monai"} <= heavy
    run = make_run()
    pack = sealed(run, parts_of(run, tmp_path))
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "pack.zip").write_bytes(pack)
    (empty / "rootCA.pem").write_bytes(run.root_pem)
    done = run_with(heavy, empty, "audit", "verify", "pack.zip", "--root-cert", "rootCA.pem")
    assert (done.returncode, done.stderr) == (0, "")
    assert "pack.zip verifies" in done.stdout
    page = run_with(heavy, empty, "audit", "report", "pack.zip", "--root-cert", "rootCA.pem", "--out", "page.html")
    assert (page.returncode, page.stderr) == (0, "")
    assert "What the pack does not show" in (empty / "page.html").read_text()
    (empty / "pack.zip").write_bytes(pack[:-1])
    assert run_with(heavy, empty, "audit", "verify", "pack.zip", "--root-cert", "rootCA.pem").returncode == 2


def test_modules_are_really_blocked(heavy: set[str], tmp_path: Path) -> None:
    done = run_with(heavy, tmp_path, "curve", "job.yaml")
    assert "is not installed" in done.stderr
