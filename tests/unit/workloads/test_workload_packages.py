"""What is read of a package, and what its digest is taken over."""

import zipfile
from pathlib import Path

import pytest
from tests.added_workloads import DECLARATION, METADATA, NAME, forget, install, wheel_files, write_wheel

from almoner.errors import DataError, DocumentError, PolicyViolation
from almoner.workloads.package_files import read_wheel
from almoner.workloads.packages import declared_workloads
from almoner.workloads.registry import WORKLOADS, inventory, package_of, registered, workload

INFO = f"{NAME}-0.1.0.dist-info"


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def test_a_wheel_has_the_digest_that_it_will_have_installed(target: Path, tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, wheel_files())
    install(target, wheel_files())
    for note, text in {"INSTALLER": "pip", "REQUESTED": "", "direct_url.json": "{}"}.items():
        (target / INFO / note).write_text(text)
    cache = target / NAME / "__pycache__"
    cache.mkdir()
    (cache / "workload.cpython-311.pyc").write_bytes(b"compiled")
    with (target / INFO / "RECORD").open("a") as record:
        record.write(f"{INFO}/INSTALLER,,\n{INFO}/REQUESTED,,\n{NAME}/__pycache__/workload.cpython-311.pyc,,\n")
    assert package_of(NAME) == read_wheel(wheel).digest
    assert (registered(NAME).dimension, registered(NAME).units) == (4, ("patient",))


@pytest.mark.parametrize(
    ("spelled", "name"),
    [("Acme.Sepsis", "acme-sepsis"), ("acme__sepsis", "acme-sepsis"), ("acme-sepsis", "acme-sepsis")],
)
def test_all_spellings_of_a_name_are_one(spelled: str, name: str, tmp_path: Path) -> None:
    files = wheel_files(name) | {METADATA: f"Name: {spelled}\nVersion: 0.1.0\n"}
    package = read_wheel(write_wheel(tmp_path, files, name))
    assert (package.name, package.folder, package.origin) == (name, "acme_sepsis", "acme-sepsis 0.1.0")


def test_a_file_of_the_package_is_read_from_memory(target: Path) -> None:
    module = f"{NAME}/workload.py"
    files = wheel_files() | {f"{NAME}/words.txt": "one two"}
    files[module] += "\nimport pkgutil\nWORDS = pkgutil.get_data(__package__, 'words.txt')\n"
    install(target, files)
    task = workload(NAME)
    forget()
    assert __import__(f"{NAME}.workload", fromlist=["WORDS"]).WORDS == b"one two"
    assert type(task).__module__ == f"{NAME}.workload"
    forget(NAME)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({DECLARATION: wheel_files(workload="other")[f"{NAME}/other.yaml"]}, "workload: is other → readmission"),
        ({DECLARATION: "schema_version: 1\nworkload: readmission\n"}, "units: Field required"),
        ({DECLARATION: "\udcff"}, "document: Input should be an object"),
        ({f"{NAME}/__init__.py": None}, "has no readmission/__init__.py"),
        ({DECLARATION: None}, "has no 'readmission/readmission.yaml' → declare the workload there"),
        ({METADATA: "Name: a b\nVersion: 1\n"}, "its name or version is not plain"),
        ({METADATA: f"Name: {NAME}\nVersion: 1 {{x}}\n"}, "its name or version is not plain"),
        ({METADATA: f"Name: {NAME}\nVersion: 1\n"}, "'readmission-0.1.0.dist-info' are the notes of another package"),
    ],
)  # fmt: skip
def test_what_is_not_of_the_expected_form(files: dict[str, str | None], reason: str, tmp_path: Path) -> None:
    wanted = {path: text for path, text in (wheel_files() | files).items() if text is not None}
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in wanted.items():
            archive.writestr(path.replace(".dist-info", INFO), text.encode("utf-8", "surrogateescape"))
    with pytest.raises((DataError, DocumentError), match=reason):
        declared_workloads(read_wheel(wheel))


def test_what_is_no_wheel(tmp_path: Path) -> None:
    for content, reason in ((b"", "not a wheel"), (b"PK\x03\x04junk", "not a wheel")):
        (tmp_path / "x.whl").write_bytes(content)
        with pytest.raises(DataError, match=reason):
            read_wheel(tmp_path / "x.whl")
    with pytest.raises(DataError, match="cannot be read"):
        read_wheel(tmp_path / "none.whl")
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as archive:
        archive.writestr("a.py", "")
    with pytest.raises(DataError, match="has no metadata"):
        read_wheel(tmp_path / "x.whl")


def test_a_wheel_whose_content_is_damaged(tmp_path: Path) -> None:
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in wheel_files().items():
            archive.writestr(path.replace(".dist-info", INFO), text)
    content = bytearray(wheel.read_bytes())
    start = content.index(b"workload.py") + len(b"workload.py")
    content[start : start + 20] = b"\xff" * 20
    wheel.write_bytes(content)
    with pytest.raises(DataError, match="not a wheel"):
        read_wheel(wheel)


@pytest.mark.parametrize(
    ("damaged", "content"),
    [("RECORD", None), ("METADATA", None), ("RECORD", "x" * 200_000), ("entry_points.txt", "[x")],
)
def test_a_damaged_installation_hides_no_other_workload(damaged: str, content: str | None, target: Path) -> None:
    install(target, wheel_files())
    install(target, wheel_files("other", "other"), "other")
    if content is None:
        (target / INFO / damaged).unlink()
    else:
        (target / INFO / damaged).write_text(f"{content}\nalmoner.workloads")
    found = inventory()
    assert set(found.usable) == {*WORKLOADS, "other"}
    assert list(found.refused) == [INFO]


def test_a_class_that_is_not_there(target: Path) -> None:
    install(target, wheel_files() | {f"{NAME}/workload.py": ""})
    with pytest.raises(PolicyViolation, match="has no class Readmission"):
        workload(NAME)
    forget(NAME)
