"""What the registry says of a workload is true of it, and text picks by name alone."""

import ast
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from almoner.errors import PolicyViolation
from almoner.training.flat import flatten
from almoner.workloads.heart_disease import HeartDisease
from almoner.workloads.installed import PACKAGE, package_digest, source_digest
from almoner.workloads.registry import WORKLOADS, workload, workload_digest


def test_known_name() -> None:
    assert isinstance(workload("heart_disease"), HeartDisease)


@pytest.mark.parametrize("name", ["heart-disease", "", "this", "almoner.workloads.heart_disease", "os.system"])
def test_unknown_name_lists_the_known_and_imports_nothing(name: str) -> None:
    before = set(sys.modules)
    with pytest.raises(
        PolicyViolation, match="installed are bank_credit, brain_mri, digits_cnn, digits_scattering, heart_disease"
    ):
        workload(name)
    assert set(sys.modules) == before


@pytest.mark.parametrize("name", WORKLOADS)
def test_dimension_and_first_weights_are_those_of_the_model(name: str) -> None:
    weights = flatten(workload(name).build_model())
    assert WORKLOADS[name].dimension == len(weights) == workload(name).dimension
    assert (
        WORKLOADS[name].initial_weights
        == workload(name).initial_weights
        == hashlib.sha256(weights.astype("<f8").tobytes()).hexdigest()
    )


def imported(path: str) -> set[str]:
    """Return the files of workloads/ and data/ that a file imports."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "almoner" and parts[1] in ("workloads", "data"):
                found.add("/".join(parts[1:]) + ".py")
    return found


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_sources_are_all_that_the_workload_is_made_of(name: str) -> None:
    known = WORKLOADS[name]
    start = "/".join(known.module.split(".")[1:]) + ".py"
    reached, todo = set(), {start}
    while todo:
        path = todo.pop()
        reached.add(path)
        todo |= imported(path) - reached
    assert set(known.sources) == reached


def test_digests_change_with_a_byte_or_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from almoner.workloads import installed

    monkeypatch.setattr(installed, "PACKAGE", tmp_path)
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("x = 1\n")
    before = source_digest(("a.py",))
    assert source_digest(("b.py",)) != before
    (tmp_path / "a.py").write_text("x = 2\n")
    assert source_digest(("a.py",)) != before


def test_the_site_knows_its_workloads_without_torch() -> None:
    code = (
        "import sys; from almoner.workloads.registry import workload_digest; workload_digest('heart_disease');"
        "import almoner.admission.rules; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=180).returncode == 0
    assert len(workload_digest("heart_disease")) == len(package_digest()) == 64
