"""Holds the threat model against the checkout: what it refers to is there, and nothing there is missing in it."""

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from almoner.errors import DocumentError
from almoner.schema.documents import load_document
from almoner.schema.threat_model import Control, Threat, ThreatModel
from almoner.threats.command_lines import make_targets, problems
from almoner.threats.coverage import gaps
from almoner.threats.render import rendered
from almoner.threats.sources import MarkedTest, defines, mentions, tests_of

FOLDER, FILE = "threat_model", "threats.yaml"
ATTACKS = "tests/attack/"


def load_threat_model(root: Path) -> ThreatModel:
    """Read a checkout's threat model.

    Raises:
        DocumentError: it is missing or malformed.
    """
    return load_document(root / FOLDER / FILE, ThreatModel)


def findings(root: Path, model: ThreatModel, commands: Mapping[str, Collection[str]]) -> list[str]:
    """Return a line for each claim of the model that the checkout does not keep; empty if there is none.

    *Guarantee*: if empty, every control's code exists and every test it names exists, is marked with its threat; every
    mark and every mention in the code names a listed threat; each module of attacks has a mark; each cell of the
    coverage tables has a threat or a reason; the questions' commands exist with their options, and the rendered pages
    are those of this model. That tests fail when controls are switched off is not checked here, but by `make threats`;
    that a test has the parameter it is named with, by `uncollected`.

    Args:
        commands: the names of `almoner`'s commands, such as "job plan", with each one's options, such as "--json".

    Raises:
        DocumentError: a file of the checkout cannot be read.
    """
    if not (root / "tests").is_dir():
        raise DocumentError(f"{root}: has no tests/ → run this in a checkout, or give --root")
    tests = tests_of(root)
    found = [line for threat in model.threats for line in _of_threat(root, threat, tests)]
    found += _of_marks(model, tests)
    found += _of_attacks(tests)
    found += _of_mentions(root, model)
    found += gaps(model)
    found += _of_questions(root, model, commands)
    found += [
        f"{FOLDER}/{name}: is not what the model renders to → almoner threats render"
        for name, text in rendered(root, model).items()
        if not (root / FOLDER / name).is_file() or (root / FOLDER / name).read_text() != text
    ]
    return found


def uncollected(model: ThreatModel, collected: Collection[str]) -> list[str]:
    """Return a line for each control whose test has other parameters than the one that it is named with.

    Args:
        collected: tests as pytest collects them, "tests/x/test_y.py::test_z[parameter]"; all parameters of any of them.
    """
    known = {name.partition("[")[0] for name in collected}
    return [
        f"{FILE}: {threat.id}: there is no {control.test}, by its parameter → name one that carries out the attack"
        for threat in model.threats
        for control in threat.controls
        if "[" in control.test and control.test.partition("[")[0] in known and control.test not in collected
    ]


def _of_threat(root: Path, threat: Threat, tests: Mapping[str, MarkedTest]) -> Iterator[str]:
    """Yield what is wrong with the references of a threat."""
    for number, control in enumerate(threat.controls):
        for problem in _of_control(root, threat.id, control, tests):
            yield f"{FILE}: {threat.id}.controls.{number}.{problem}"


def _of_control(root: Path, threat: str, control: Control, tests: Mapping[str, MarkedTest]) -> Iterator[str]:
    """Yield what is wrong with a control's references."""
    if not defines(root, control.code):
        yield f"code: there is no {control.code} → name what is there now"
    try:
        ast.parse(control.without, mode="eval")
    except SyntaxError:
        yield "without: not a Python expression → correct it"
    test = tests.get(control.test.partition("[")[0])
    if test is None:
        yield f"test: there is no {control.test} → name one that carries out the attack"
    elif threat not in test.threats:
        yield f'test: {test.name} is not marked → add @pytest.mark.threat("{threat}") to it'


def _of_marks(model: ThreatModel, tests: Mapping[str, MarkedTest]) -> Iterator[str]:
    """Yield marks that name no tested threat, and tested threats that no mark names."""
    tested = {threat.id for threat in model.threats if threat.status == "tested"}
    for test in tests.values():
        for threat in sorted(test.threats - tested):
            yield f"{test.name}: is marked with {threat}, which is not a tested threat → correct the mark, or list it"
    for threat in sorted(tested - {threat for test in tests.values() for threat in test.threats}):
        yield f"{FILE}: {threat}: no test is marked with it → write the test"


def _of_mentions(root: Path, model: ThreatModel) -> Iterator[str]:
    """Yield threats that the code speaks of and the model does not have."""
    listed = {threat.id for threat in model.threats}
    for threat, files in mentions(root).items():
        if threat not in listed:
            yield f"{', '.join(sorted(files))}: mentions {threat}, which is not listed → correct it"


def _of_attacks(tests: Mapping[str, MarkedTest]) -> Iterator[str]:
    """Yield modules of attacks that carry out no threat."""
    threats: dict[str, set[str]] = {}
    for test in tests.values():
        threats.setdefault(test.name.partition("::")[0], set()).update(test.threats)
    for file, named in threats.items():
        if file.startswith(ATTACKS) and not named:
            yield f"{file}: no test of it names a threat → add @pytest.mark.threat to the attacks in it, or move it"


def _of_questions(root: Path, model: ThreatModel, commands: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Yield what the commands of the walk-through ask for that there is not."""
    targets = make_targets(root)
    for question in model.questions:
        for problem in problems(question.command, commands, targets):
            yield f"{FILE}: questions: {problem} → name what there is"
