"""Packages that add a workload, and what they try: to run unasked, to be another, to change, to lie, to mix records."""

import importlib
import importlib.util
import marshal
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.added_workloads import (
    DECLARATION,
    ENTRY_POINTS,
    METADATA,
    MODULE,
    NAME,
    forget,
    install,
    pinning,
    wheel_files,
    write_skeleton,
    write_wheel,
)

from almoner.errors import AlmonerError, DataError, PolicyViolation
from almoner.flare.commands.planning import plan_job
from almoner.flare.components.job_kinds import registered
from almoner.flare.training.context import _verified_workload
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.workloads.package_files import read_wheel
from almoner.workloads.package_import import import_from
from almoner.workloads.registry import WORKLOADS, inventory, package_of, workload

Pins = dict[str, tuple[str, ...]] | None


@pytest.fixture(scope="module")
def skeleton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_skeleton(tmp_path_factory.mktemp("skeleton"))


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages that this process finds."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    forget(NAME, "rival")


@pytest.fixture(scope="module")
def spec(skeleton: Path) -> JobSpec:
    """The skeleton's job."""
    return load_document(skeleton / "federation" / "jobs" / f"{NAME}.yaml", JobSpec)


@pytest.fixture
def refusals(skeleton: Path, spec: JobSpec) -> Callable[[Pins], list[set[str]]]:
    """What each site of the skeleton says to its job, under a pin of all of them."""

    def ask(pins: Pins) -> list[set[str]]:
        decisions = plan_job(spec, pinning(skeleton / "federation", pins))
        return [{violation.rule for violation in decision.violations} for decision in decisions]

    return ask


def with_canary(canary: Path) -> dict[str, str]:
    """Return a wheel whose module leaves a mark when it is imported."""
    files = wheel_files()
    return files | {MODULE: files[MODULE] + f"\nPath({str(canary)!r}).write_text('imported')\n"}


def edited(path: str, old: str, new: str) -> dict[str, str]:
    """Return a wheel with one change."""
    files = wheel_files()
    assert old in files[path]
    return files | {path: files[path].replace(old, new)}


@pytest.mark.threat("T-90")
def test_no_policy_admits_a_package_that_it_does_not_pin(
    target: Path, refusals: Callable[[Pins], list[set[str]]]
) -> None:
    install(target, wheel_files())
    assert refusals({NAME: (package_of(NAME),)}) == [set()] * 3
    for pins in (None, {}, {NAME: ("0" * 64,)}):
        assert refusals(pins) == [{"workload.digest"}] * 3


@pytest.mark.threat("T-90")
@pytest.mark.parametrize("path", [MODULE, DECLARATION, f"{NAME}/__init__.py", METADATA, ENTRY_POINTS])
def test_one_changed_byte_breaks_the_pin_whatever_record_claims(
    path: str, target: Path, refusals: Callable[[Pins], list[set[str]]]
) -> None:
    install(target, wheel_files())
    pins: Pins = {NAME: (package_of(NAME),)}
    place = target / path.replace(".dist-info", f"{NAME}-0.1.0.dist-info")
    record = (target / f"{NAME}-0.1.0.dist-info" / "RECORD").read_text()
    place.write_text(place.read_text().rstrip("\n") + "\n\n")
    assert refusals(pins) == [{"workload.digest"}] * 3
    assert (target / f"{NAME}-0.1.0.dist-info" / "RECORD").read_text() == record


@pytest.mark.threat("T-90")
def test_what_lies_beside_the_pinned_files_is_not_imported(target: Path, tmp_path: Path) -> None:
    install(target, wheel_files())
    package = read_wheel(write_wheel(tmp_path, wheel_files()))
    (target / NAME / "late.py").write_text("")
    evil = compile("def Readmission(): return 'evil'", "evil", "exec")
    flags = (1).to_bytes(4, "little")  # the cache names a hash of its source that nobody checks
    cached = Path(importlib.util.cache_from_source(str(target / MODULE)))
    cached.parent.mkdir()
    cached.write_bytes(importlib.util.MAGIC_NUMBER + flags + bytes(8) + marshal.dumps(evil))
    assert importlib.import_module(f"{NAME}.workload").Readmission() == "evil"
    importlib.import_module(f"{NAME}.late")  # the ordinary import takes both
    forget(NAME)
    assert package_of(NAME) == package.digest
    assert type(workload(NAME)).__name__ == "Readmission"
    with pytest.raises(ModuleNotFoundError, match=r"has no module readmission\.late"):
        importlib.import_module(f"{NAME}.late")


@pytest.mark.threat("T-91")
@pytest.mark.parametrize("taken", ["heart_disease", "heart-disease"])
def test_a_name_of_almoners_own_stays_almoners(taken: str, target: Path) -> None:
    install(target, wheel_files("rival", taken), "rival")
    found = inventory()
    assert found.usable == WORKLOADS
    assert found.refused[taken] == (
        f"workload '{taken}': named by almoner itself and by rival 0.1.0 → keep one, or rename one"
    )
    assert type(workload("heart_disease")).__module__ == "almoner.workloads.heart_disease"
    assert package_of("heart_disease") == ""


@pytest.mark.threat("T-91")
@pytest.mark.parametrize("first", [NAME, "rival"])
def test_two_packages_of_one_workload_are_both_refused(
    first: str, target: Path, refusals: Callable[[Pins], list[set[str]]]
) -> None:
    install(target, wheel_files(first), first)
    pins: Pins = {NAME: (package_of(NAME),)}
    assert refusals(pins) == [set()] * 3
    for name in (NAME, "rival"):
        install(target, wheel_files(name), name)
    assert refusals(pins) == [{"workload.known"}] * 3
    with pytest.raises(PolicyViolation, match=r"named by readmission 0\.1\.0 and by rival 0\.1\.0"):
        workload(NAME)


@pytest.mark.threat("T-91")
def test_a_package_that_is_installed_twice_is_refused(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(target, wheel_files())
    other = tmp_path / "other"
    other.mkdir()
    install(other, edited(MODULE, "outputs > 0", "outputs < 0"))
    monkeypatch.syspath_prepend(other)
    assert NAME not in inventory().usable
    assert inventory().refused == {NAME: f"package {NAME}: installed at 2 places → uninstall all but one"}


STANDING_IN = {
    "a module of another package": ({"yaml/__init__.py": ""}, "yaml/__init__.py is outside readmission/"),
    "a module of almoner": ({"almoner/workloads/heart_disease.py": ""}, "is outside readmission/"),
    "a path upwards": ({f"{NAME}/../almoner/evil.py": ""}, "is outside readmission/"),
    "code at each start of Python": ({"x.pth": "import os"}, "x.pth is outside readmission/"),
    "a script": ({f"{NAME}-0.1.0.data/scripts/python": "#!python"}, "is outside readmission/"),
    "what pydantic imports": ({ENTRY_POINTS: "[pydantic]\nx = readmission:x\n"}, "of other groups .*'pydantic'"),
    "what torch imports": ({ENTRY_POINTS: "[torch.backends]\nx = readmission:x\n"}, "'torch.backends'"),
    "a script by its entry point": ({ENTRY_POINTS: "[console_scripts]\nls = readmission:x\n"}, "'console_scripts'"),
    "an entry twice": (
        {ENTRY_POINTS: f"[almoner.workloads]\n{NAME} = {NAME}.workload:A\n{NAME} = {NAME}.workload:B\n"},
        "cannot be parsed, or has an entry twice",
    ),
    "another module of Python": ({METADATA: "Name: json\nVersion: 1\n"}, "are the notes of another package"),
    "almoner itself": ({METADATA: "Name: almoner\nVersion: 1\n"}, "are the notes of another package"),
    "too much": ({f"{NAME}/{n}.py": "" for n in range(1001)}, "more than 1000 files"),
}


@pytest.mark.threat("T-91", "T-92")
@pytest.mark.parametrize("case", STANDING_IN)
def test_a_wheel_that_would_act_by_being_installed_is_refused_before(case: str, target: Path) -> None:
    files, reason = STANDING_IN[case]
    with pytest.raises(DataError, match=reason):
        read_wheel(write_wheel(target.parent, wheel_files() | files))
    if ".." not in str(files):
        install(target, wheel_files() | files)
        assert inventory().usable == WORKLOADS
        assert len(inventory().refused) == (GROUP_IS_NAMED in (wheel_files() | files)[ENTRY_POINTS])


GROUP_IS_NAMED = "almoner.workloads"


@pytest.mark.threat("T-91")
def test_a_wheel_that_would_write_into_another_packages_folder(target: Path) -> None:
    for name in ("json", "almoner"):
        with pytest.raises(DataError, match=f"{name} is the name of another module"):
            read_wheel(write_wheel(target.parent, wheel_files(name), name))
    with pytest.raises(DataError, match="yaml/ is a folder of pyyaml → give the package another name"):
        read_wheel(write_wheel(target.parent, wheel_files("yaml"), "yaml"))


@pytest.mark.threat("T-92")
def test_deciding_about_a_package_imports_nothing_of_it(
    target: Path, tmp_path: Path, refusals: Callable[[Pins], list[set[str]]]
) -> None:
    canary = tmp_path / "canary"
    install(target, with_canary(canary))
    read_wheel(write_wheel(tmp_path, with_canary(canary)))
    assert inventory().usable[NAME].dimension == 4
    assert refusals({NAME: (package_of(NAME),)}) == [set()] * 3
    assert registered(NAME, package_of(NAME)).dimension == 4  # all that the server asks
    assert not canary.exists()
    assert NAME not in sys.modules
    workload(NAME)
    assert canary.read_text() == "imported"


@pytest.mark.threat("T-92")
@pytest.mark.parametrize(
    "value", ["os:system", f"{NAME}_other.workload:X", f"{NAME}.nothing:X", f"{NAME}.workload", "x"]
)
def test_an_entry_point_cannot_name_code_of_others(value: str, target: Path) -> None:
    install(target, wheel_files() | {ENTRY_POINTS: f"[almoner.workloads]\n{NAME} = {value}\n"})
    assert inventory().usable == WORKLOADS
    assert "is not a class in it" in inventory().refused[NAME]


@pytest.mark.threat("T-92")
def test_pydantic_does_import_what_inspection_refuses(target: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    files = with_canary(canary) | {ENTRY_POINTS: f"[pydantic]\nx = {NAME}.workload:Readmission\n"}
    install(target, files)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(target), *sys.path])}
    command = [sys.executable, "-W", "ignore", "-c", "import almoner.schema.site"]
    subprocess.run(command, env=environment, check=False, timeout=180, stderr=subprocess.DEVNULL)
    assert canary.read_text() == "imported"  # hence: inspect a wheel before it is installed
    with pytest.raises(DataError, match="'pydantic'"):
        read_wheel(write_wheel(tmp_path, files))


@pytest.mark.threat("T-93")
def test_code_that_changed_after_the_decision_is_not_imported(target: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    install(target, wheel_files())
    admitted, seen = package_of(NAME), inventory().usable[NAME].package
    assert seen is not None
    (target / MODULE).write_text(with_canary(canary)[MODULE])
    with pytest.raises(PolicyViolation, match=f"the job is for package {admitted[:16]}"):
        workload(NAME, admitted)
    with pytest.raises(PolicyViolation, match="the job is for package none"):
        workload(NAME, "")
    import_from(seen, f"{NAME}.workload")  # between digest and import, the disk is not asked again
    assert not canary.exists()
    with pytest.raises(PolicyViolation, match="another readmission was imported → start anew"):
        workload(NAME)
    forget(NAME)
    workload(NAME)
    assert canary.exists()


@pytest.mark.threat("T-93")
def test_a_package_that_is_there_from_elsewhere_is_not_taken_for_the_pinned_one(target: Path) -> None:
    install(target, wheel_files())
    importlib.import_module(NAME)
    with pytest.raises(PolicyViolation, match="another readmission was imported"):
        workload(NAME, package_of(NAME))


LIES = {
    "dimension": (DECLARATION, "dimension: 4", "dimension: 3", "dimension is declared as 3 → 4"),
    "weights": (MODULE, "init.zeros_(linear.bias)", "init.ones_(linear.bias)", "initial_weights is declared as 6668"),
    "name": (MODULE, f'name = "{NAME}"', 'name = "heart_disease"', "name is declared as readmission → heart_disease"),
    "chance": (MODULE, "init.zeros_(linear.bias)", "init.normal_(linear.bias)", "not the same twice"),
    "batch norm": (
        MODULE,
        "torch.nn.Flatten(0))",
        "torch.nn.BatchNorm1d(1, affine=False), torch.nn.Flatten(0))",
        r"layer 1 \(BatchNorm1d\) mixes records",
    ),
}


@pytest.mark.threat("T-94")
@pytest.mark.parametrize("lie", LIES)
def test_a_model_other_than_declared_is_refused_before_data(
    lie: str, target: Path, spec: JobSpec, refusals: Callable[[Pins], list[set[str]]]
) -> None:
    path, honest, lying, reason = LIES[lie]
    install(target, edited(path, honest, lying))
    pin = package_of(NAME)
    assert refusals({NAME: (pin,)}) == [set()] * 3  # the declaration alone does not show it
    with pytest.raises(AlmonerError, match=reason):
        _verified_workload(spec, pin)
