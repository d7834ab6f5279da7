"""What `almoner workload new` writes works as written: its own tests, its wheel, its declarations."""

import inspect
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.added_workloads import NAME, forget, pinning, wheel_files, write_skeleton, write_wheel

from almoner.admission.lattice import verify_policies
from almoner.errors import DocumentError
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.workloads.package_files import read_wheel
from almoner.workloads.packages import declared_workloads
from almoner.workloads.skeleton import render_skeleton


@pytest.fixture
def skeleton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = write_skeleton(tmp_path / NAME)
    monkeypatch.syspath_prepend(folder / "src")
    yield folder
    forget(NAME)


def test_its_tests_pass(skeleton: Path, tmp_path: Path) -> None:
    [tests] = (skeleton / "tests").glob("test_*.py")
    found = {name: test for name, test in runpy.run_path(str(tests)).items() if name.startswith("test_")}
    assert len(found) == 4
    for test in found.values():
        test(**dict.fromkeys(inspect.signature(test).parameters, tmp_path))


def test_its_wheel_is_built_offline_and_keeps_the_rules(skeleton: Path, tmp_path: Path) -> None:
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", *options, str(skeleton)]
    subprocess.run(command, check=True, timeout=180)
    [wheel] = tmp_path.glob("*.whl")
    package = read_wheel(wheel)
    assert (package.name, package.version, package.folder) == (NAME, "0.1.0", NAME)
    assert declared_workloads(package)[NAME].declaration.units == ("patient",)
    made = read_wheel(write_wheel(tmp_path, wheel_files()))
    assert package.files.keys() == made.files.keys()
    same = {path: content for path, content in package.files.items() if not path.endswith("METADATA")}
    assert same.items() <= made.files.items()


def test_its_declarations_fit_together(skeleton: Path) -> None:
    root = skeleton / "federation"
    declarations = pinning(root, None)
    verify_policies(root, declarations)
    assert load_document(root / "jobs" / f"{NAME}.yaml", JobSpec).study in declarations.consortium.studies


def test_its_code_is_clean(skeleton: Path) -> None:
    options = ["check", "--quiet", "--isolated", "--line-length", "120", "--select", "E,F,W,I,B,UP"]
    command = [sys.executable, "-m", "ruff", *options, str(skeleton)]
    assert subprocess.run(command, check=False, timeout=180, capture_output=True).stdout.decode() == ""


def test_a_name_of_several_words() -> None:
    files = render_skeleton("heart_failure_2")
    assert "class HeartFailure2(Workload)" in files["src/heart_failure_2/workload.py"]
    assert 'name = "heart-failure-2"' in files["pyproject.toml"]
    assert "study: heart-failure-2" in files["federation/jobs/heart_failure_2.yaml"]
    assert not any("$" in text or "NAME" in text for text in files.values())


@pytest.mark.parametrize(
    "name", ["", "Heart", "heart-failure", "2nd", "../up", "a" * 41, "json", "almoner", "bank_credit"]
)
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(DocumentError, match="→"):
        render_skeleton(name)
