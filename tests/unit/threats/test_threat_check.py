"""What the threat model claims is held against the checkout: this one, and small ones with one fault each."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from threat_cases import CODE, README, TEST, checkout, small_model

from almoner.cli.threats import command_names
from almoner.errors import DocumentError
from almoner.schema.threat_model import ThreatModel
from almoner.threats.check import FOLDER, findings, load_threat_model
from almoner.threats.render import rendered

Document = dict[str, Any]


def test_this_checkout_keeps_its_threat_model(root: Path) -> None:
    assert findings(root, load_threat_model(root), command_names()) == []


def found_in(folder: Path, document: Document | None = None) -> list[str]:
    """Render a checkout's pages, and return what is found in it."""
    where = checkout(folder, document or small_model())
    return found_after_rendering(where)


def found_after_rendering(where: Path) -> list[str]:
    model = load_threat_model(where)
    for name, text in rendered(where, model).items():
        (where / FOLDER / name).write_text(text)
    return findings(where, model, {"door"})


def test_a_checkout_that_keeps_it_has_no_findings(tmp_path: Path) -> None:
    assert found_in(tmp_path) == []


def first_control(document: Document) -> Document:
    control: Document = document["threats"][0]["controls"][0]
    return control


BROKEN: list[tuple[Callable[[Document], object], str]] = [
    (lambda d: first_control(d).update(code="almoner.house:Door.open"), "there is no almoner.house:Door.open"),
    (lambda d: first_control(d).update(code="almoner.barn:Door"), "there is no almoner.barn:Door"),
    (lambda d: first_control(d).update(without="lambda: ("), "not a Python expression"),
    (
        lambda d: first_control(d).update(test="tests/test_house.py::test_other"),
        "there is no tests/test_house.py::test_o",
    ),
    (lambda d: d["threats"][0].update(id="T-02"), "is not marked"),
    (lambda d: d["threats"][0].update(stride=["S"]), "STRIDE E of house: no threat is in it"),
    (lambda d: d["threats"][0].update(linddun=[]), "LINDDUN D of box: no threat is in it"),
    (lambda d: d["ruled_out"][0].update(stride=["T", "R", "I"]), "STRIDE D of house: no threat is in it"),
    (lambda d: d["ruled_out"][0].update(stride=["S", "T", "R", "I", "D"]), "STRIDE S of house: T-01 is in it"),
    (lambda d: d["ruled_out"][2].update(stride=["T", "I", "D", "R"]), "STRIDE R of way: nobody asks"),
    (lambda d: d["questions"][0].update(command="almoner window"), "there is no command 'almoner window'"),
]


@pytest.mark.parametrize(("change", "finding"), BROKEN, ids=[finding[:40] for _, finding in BROKEN])
def test_a_claim_that_is_not_kept_is_found(change: Callable[[Document], object], finding: str, tmp_path: Path) -> None:
    document = copy.deepcopy(small_model())
    change(document)
    if document["threats"][0]["id"] != "T-01":
        document["frameworks"][0]["items"][0]["threats"] = [document["threats"][0]["id"]]
    assert any(finding in line for line in found_in(tmp_path, document))


@pytest.mark.parametrize(
    ("file", "text", "finding"),
    [
        ("custom/almoner/house.py", CODE.replace("T-01", "T-99"), "mentions T-99, which is not listed"),
        ("custom/almoner/house.py", CODE.replace("verify", "check"), "there is no almoner.house:Door.verify"),
        ("tests/test_house.py", TEST.replace('"T-01"', '"T-01", "T-77"'), "is marked with T-77"),
        ("tests/test_house.py", TEST.replace('@pytest.mark.threat("T-01")\n', ""), "no test is marked with it"),
    ],
)
def test_a_checkout_that_moved_on_is_found(file: str, text: str, finding: str, tmp_path: Path) -> None:
    where = checkout(tmp_path, small_model())
    (where / file).write_text(text)
    assert any(finding in line for line in found_after_rendering(where))


def test_pages_that_are_out_of_date_are_found(tmp_path: Path) -> None:
    assert found_in(tmp_path) == []
    page = tmp_path / FOLDER / "README.md"
    page.write_text(page.read_text().replace("1 threats", "40 threats"))
    assert findings(tmp_path, load_threat_model(tmp_path), {"door"}) == [
        "threat_model/README.md: is not what the model renders to → almoner threats render"
    ]
    assert "Prose." in page.read_text()


def test_a_section_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    where = checkout(tmp_path, small_model())
    (where / FOLDER / "README.md").write_text(README.replace("summary", "poem"))
    with pytest.raises(DocumentError, match="there is no section 'poem'"):
        rendered(where, load_threat_model(where))


def test_a_folder_without_tests_is_refused(tmp_path: Path) -> None:
    where = checkout(tmp_path, small_model())
    (where / "tests" / "test_house.py").unlink()
    (where / "tests").rmdir()
    with pytest.raises(DocumentError, match="run this in a checkout"):
        findings(where, load_threat_model(where), set())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["threats"].append(copy.deepcopy(d["threats"][0])), "'T-01' is given twice"),
        (lambda d: d["threats"][0].update(adversaries=["ghost"]), "there is no 'ghost'"),
        (lambda d: d["threats"][0].update(elements=["roof"]), "there is no 'roof'"),
        (lambda d: d["threats"][0].update(controls=[]), "a tested threat names its controls"),
        (lambda d: d["threats"][0].update(status="accepted"), "an accepted one none"),
        (lambda d: d["flows"][0].update(target="cellar"), "there is no 'cellar'"),
        (lambda d: d["frameworks"][0]["items"][0].update(outside="no"), "and not both"),
        (lambda d: d["frameworks"][0]["items"][0].update(threats=["T-05"]), "there is no 'T-05'"),
        (lambda d: first_control(d).update(code="os:remove"), "code"),
    ],
)
def test_a_model_that_contradicts_itself_is_refused(
    change: Callable[[Document], object], message: str, tmp_path: Path
) -> None:
    document = copy.deepcopy(small_model())
    change(document)
    with pytest.raises(DocumentError, match=message):
        load_threat_model(checkout(tmp_path, document))


def test_pages_have_diagram_tables_and_every_threat(root: Path) -> None:
    model = load_threat_model(root)
    pages = rendered(root, model)
    assert pages["README.md"].count("```mermaid") == 1
    assert "**open**" not in pages["README.md"]
    assert all(f"## {threat.id} " in pages["threats.md"] for threat in model.threats)
    assert len([threat for threat in model.threats if threat.status == "tested"]) >= 40
    assert isinstance(model, ThreatModel)
