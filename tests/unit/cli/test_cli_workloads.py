"""`almoner workload` as an author and a data officer use it."""

import json
from pathlib import Path

import pytest
from cli_cases import Shell
from tests.added_workloads import NAME, install, wheel_files, write_wheel

from almoner.schema.documents import load_document
from almoner.schema.policy import SitePolicy
from almoner.workloads.package_files import read_wheel


def test_list_prints_what_a_policy_may_pin(root: Path, almoner: Shell) -> None:
    pinned = load_document(root / "policies" / "examples" / "strict.yaml", SitePolicy).allow
    shown = json.loads(almoner("workload", "list", "--json").out)["workloads"]["heart_disease"]
    assert shown["from"] == "almoner"
    assert (pinned.workload_digests, pinned.initial_weights) == (
        {"heart_disease": (shown["digest"],)},
        {"heart_disease": (shown["initial_weights"],)},
    )


def test_list_says_where_a_workload_is_from_and_what_cannot_be_used(
    almoner: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "packages").mkdir()
    install(tmp_path / "packages", wheel_files())
    install(tmp_path / "packages", wheel_files("rival", "heart_disease"), "rival")
    monkeypatch.syspath_prepend(tmp_path / "packages")
    digest = read_wheel(write_wheel(tmp_path, wheel_files())).digest
    shown = almoner("workload", "list").out
    assert f"{NAME}: 4 parameters, unit patient, from readmission 0.1.0\n  workload_digests {digest}\n" in shown
    assert "cannot be used: workload 'heart_disease': named by almoner itself and by rival 0.1.0" in shown
    found = json.loads(almoner("workload", "list", "--json").out)
    assert found["workloads"][NAME]["digest"] == digest
    assert list(found["refused"]) == ["heart_disease"]


def test_inspect(almoner: Shell, tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, wheel_files())
    shown = almoner("workload", "inspect", wheel)
    assert shown.code == 0
    assert f"workload_digests {read_wheel(wheel).digest}" in shown.out
    assert "5 files, all below readmission/" in shown.out
    found = json.loads(almoner("workload", "inspect", wheel, "--json").out)
    assert found["workloads"][NAME]["units"] == ["patient"]
    assert f"{NAME}/workload.py" in found["files"]


def test_inspect_refuses_in_one_line(almoner: Shell, tmp_path: Path) -> None:
    shown = almoner("workload", "inspect", write_wheel(tmp_path, wheel_files("torch"), "torch"))
    assert shown.code == 2
    assert shown.err.startswith("error: ")
    assert "torch is the name of another module → give the package another name" in shown.err


def test_new(almoner: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert almoner("workload", "new", NAME).code == 0
    assert (tmp_path / NAME / "src" / NAME / "workload.py").is_file()
    again = almoner("workload", "new", NAME)
    assert (again.code, again.err) == (2, f"error: {NAME}: is there already → give another --out\n")
    assert almoner("workload", "new", "heart-failure").code == 2
