"""What the threat model claims is held against the checkout: this one, and small ones with one fault each."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from threat_cases import CODE, README, TEST, checkout, small_model

from almoner.cli.threats import command_options
from almoner.errors import DocumentError
from almoner.schema.threat_model import ThreatModel
from almoner.threats.check import FOLDER, findings, load_threat_model, uncollected
from almoner.threats.render import rendered

Document = dict[str, Any]
COMMANDS = {"door": {"--key"}, "house sell": {"--price"}}


def test_this_checkout_keeps_its_threat_model(root: Path) -> None:
    assert findings(root, load_threat_model(root), command_options()) == []


def test_this_checkouts_controls_name_parameters_that_there_are(root: Path, collected: set[str]) -> None:
    """Of the files that this run has collected: all of them in a run of the suite."""
    assert uncollected(load_threat_model(root), collected) == []


def test_a_parameter_that_there_is_not_is_found(tmp_path: Path) -> None:
    model = load_threat_model(checkout(tmp_path, small_model()))
    name = "tests/test_house.py::test_stranger"
    assert uncollected(model, {f"{name}[a]", f"{name}[b]"}) == []
    assert uncollected(model, {"tests/test_barn.py::test_cow"}) == [], "its file was not asked for"
    for moved in ({f"{name}[b]"}, {name}):
        (line,) = uncollected(model, moved)
        assert f"T-01: there is no {name}[a], by its parameter" in line


def found_in(folder: Path, document: Document | None = None) -> list[str]:
    """Render a checkout's pages, and return what is found in it."""
    where = checkout(folder, document or small_model())
    return found_after_rendering(where)


def found_after_rendering(where: Path) -> list[str]:
    model = load_threat_model(where)
    for name, text in rendered(where, model).items():
        (where / FOLDER / name).write_text(text)
    return findings(where, model, COMMANDS)


@pytest.mark.parametrize(
    "command",
    [
        "almoner door",
        "make",
        "make -s paint brush COLOUR=red",
        "almoner house sell --price=1 box && almoner door --key 'a && b' > --sold.json",
        "almoner door --help | almoner door",
    ],
)
def test_a_checkout_that_keeps_it_has_no_findings(command: str, tmp_path: Path) -> None:
    document = small_model()
    document["questions"][0]["command"] = command
    assert found_in(tmp_path, document) == []


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
    *(
        (lambda d, line=line: d["questions"][0].update(command=line), finding)
        for line, finding in {
            "almoner window": "there is no command 'almoner window'",
            "almoner house": "there is no command 'almoner house'",
            "house door": "there is no command 'house door'",
            "make sale": "there is no make target 'sale'",
            "make -s paint sale PRICE=1": "there is no make target 'sale'",
            "almoner door --key x --lock": "'almoner door' has no option --lock",
            "almoner house sell --price=1 --key x": "'almoner house sell' has no option --key",
            "almoner door && almoner window": "there is no command 'almoner window'",
            "almoner door --key x > a.json | almoner roof": "there is no command 'almoner roof'",
            "almoner door|wc": "there is no command 'wc'",
            "almoner door &&": "'almoner door &&' is no command line",
            "almoner door --key 'x": "'almoner door --key 'x' is no command line",
        }.items()
    ),
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
        ("tests/attack/test_door.py", "def test_kick(): ...\n", "attack/test_door.py: no test of it names a threat"),
    ],
)
def test_a_checkout_that_moved_on_is_found(file: str, text: str, finding: str, tmp_path: Path) -> None:
    where = checkout(tmp_path, small_model())
    (where / file).parent.mkdir(exist_ok=True)
    (where / file).write_text(text)
    assert any(finding in line for line in found_after_rendering(where))


def test_pages_that_are_out_of_date_are_found(tmp_path: Path) -> None:
    assert found_in(tmp_path) == []
    page = tmp_path / FOLDER / "README.md"
    page.write_text(page.read_text().replace("1 threats", "40 threats"))
    assert findings(tmp_path, load_threat_model(tmp_path), COMMANDS) == [
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
        findings(where, load_threat_model(where), {})


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
