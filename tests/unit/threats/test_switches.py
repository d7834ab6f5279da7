"""A control is taken out of the code alone, and a test that does not notice is told from one that does."""

import functools
import importlib
import inspect
import json
import sys
import textwrap
import types
from pathlib import Path

import pytest
from tests.switches.__main__ import HOOKS, main

from almoner.schema.threat_model import Control, ThreatModel
from almoner.threats.check import load_threat_model

sys.path.append(str(HOOKS))
switched = importlib.import_module("switched")

SOURCE = """
import contextlib
from textwrap import dedent

LIMIT = 5
def admit(n): return n <= LIMIT
def caller(n): return admit(n)
held = (admit,)

def outer():
    word = "shut"
    def inner(): return word
    return inner
closed = outer()

@contextlib.contextmanager
def guarded():
    yield "guarded"

class Door:
    def knock(self, who): return f"no, {who}"
    @classmethod
    def made(cls): return "made"
    @staticmethod
    def plain(): return "plain"
    @property
    def state(self): return "shut"

class Gate(Door):
    def knock(self, who): return super().knock(who)
"""


@pytest.fixture
def module() -> types.ModuleType:
    found = types.ModuleType("cut")
    exec(SOURCE, vars(found))
    return found


def test_whoever_holds_a_function_calls_what_stands_in_its_place(module: types.ModuleType) -> None:
    switched.take_out(module, "admit", "lambda n: not original(n)")
    assert [module.admit(9), module.caller(9), module.held[0](9), module.caller(1)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("name", "off", "call", "seen"),
    [
        ("dedent", "lambda *_: 'cut'", lambda m: [m.dedent(" a"), textwrap.dedent(" a")], ["cut", "a"]),
        ("LIMIT", "99", lambda m: m.admit(9), True),
        ("closed", "lambda: 'open'", lambda m: m.closed(), "open"),
        ("Door.knock", "lambda self, who: 'come in'", lambda m: m.Door().knock("you"), "come in"),
        ("Gate.knock", "lambda self, who: 'come in'", lambda m: m.Gate().knock("you"), "come in"),
        ("Gate.knock", "lambda self, who: original(self, 'me')", lambda m: m.Gate().knock("you"), "no, me"),
        ("Door.made", "lambda cls: cls.__name__", lambda m: m.Door.made(), "Door"),
        ("Door.plain", "lambda: 'cut'", lambda m: m.Door.plain(), "cut"),
        ("Door.state", "lambda self: 'open'", lambda m: m.Door().state, "open"),
        ("guarded", "lambda: (yield 'open')", lambda m: m.guarded().__enter__(), "open"),
    ],
)
def test_each_kind_of_name(name: str, off: str, call: object, seen: object, module: types.ModuleType) -> None:
    switched.take_out(module, name, off)
    assert call(module) == seen  # type: ignore[operator]


def arguments_refused(control: Control) -> str:
    """Return by what a control's stand-in does not take the arguments of what it stands for; "" if it does."""
    module_name, path = control.code.split(":")
    module = importlib.import_module(module_name)
    *outer, last = path.split(".")
    held = vars(functools.reduce(getattr, outer, module))[last]
    function = inspect.unwrap(getattr(held, "__func__", getattr(held, "fget", held)))
    instead = eval(control.without, vars(module) | {"original": held})
    if not (inspect.isfunction(function) and inspect.isfunction(instead)):
        return ""
    parameters = inspect.signature(function).parameters.values()
    named = {parameter.name: None for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    try:
        inspect.signature(instead).bind(*[p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD], **named)
    except TypeError as error:
        return f"{control.code}: {error}"
    return ""


def test_what_stands_in_a_controls_place_takes_its_arguments(root: Path) -> None:
    controls = [control for threat in load_threat_model(root).threats for control in threat.controls]
    assert len(controls) > 200
    assert [line for line in map(arguments_refused, controls) if line] == []


def trial(name: str, control: dict[str, str], folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Try one control of a model with one threat, as the command line does."""
    from threat_cases import small_model

    document = small_model()
    document["threats"][0]["controls"] = [control]
    ThreatModel.model_validate_json(json.dumps(document))
    file = folder / f"{name}.yaml"
    file.write_text(json.dumps(document))
    code = main(["T-01", "--file", str(file), "--report", str(folder / "report.json")])
    return code, capsys.readouterr().out


@pytest.mark.slow
def test_a_test_that_fails_without_its_control_is_told_from_one_that_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    looked_at = "tests/unit/privacy/test_exact_gaussian.py::test_a_scale_out_of_range_is_refused[0.0]"
    guard = {"code": "almoner.privacy.exact_gaussian:exact_gaussian", "without": "lambda *_: None", "test": looked_at}
    assert trial("on", guard, tmp_path, capsys)[0] == 0
    beside = guard | {"code": "almoner.privacy.exact_gaussian:MARGIN", "without": "1.0"}
    code, out = trial("beside", beside, tmp_path, capsys)
    assert (code, "THE TEST PASSES WITHOUT IT" in out) == (1, True)
    broken = guard | {"without": "lambda *_: missing"}
    code, out = trial("broken", broken, tmp_path, capsys)
    assert (code, "the stand-in does not fit" in out) == (1, True)
