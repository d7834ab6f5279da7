"""Every command explains itself with an example that its own parser takes."""

import shlex
from typing import Any

import pytest
import typer
from cli_cases import COMMANDS, Shell

from almoner.cli.main import COMMANDS as MODULES
from almoner.cli.main import build_app

WITH_JSON = {
    ("audit", "verify"),
    ("approve-requests",),
    ("bench", "pipeline"),
    ("communication",),
    ("curve",),
    ("job", "plan"),
    ("job", "list"),
    ("job", "result"),
    ("ledger", "report"),
    ("ledger", "show"),
    ("ledger", "verify"),
    ("personalise",),
    ("policy", "diff"),
    ("policy", "explain"),
    ("policy", "test"),
    ("redteam", "poison"),
    ("redteam", "run"),
    ("release", "curve"),
    ("release", "run"),
    ("site", "approve-roster"),
    ("site", "check-images"),
    ("site", "groups"),
    ("site", "join"),
    ("site", "request-certificate"),
    ("status",),
    ("threats", "check"),
    ("threats", "list"),
    ("workload", "inspect"),
    ("workload", "list"),
}


def test_these_are_all_commands() -> None:
    assert {words[0] for words in COMMANDS} == {*MODULES, "schema", "version"}
    assert {"plan", "export", "submit", "watch", "list", "result"} <= {words[-1] for words in COMMANDS}


@pytest.mark.parametrize("words", COMMANDS)
def test_help_shows_an_example(words: tuple[str, ...], almoner: Shell) -> None:
    outcome = almoner(*words, "--help")
    assert outcome.code == 0
    assert f"Example: almoner {' '.join(words)}" in outcome.out


@pytest.mark.parametrize(("words", "command"), COMMANDS.items())
def test_the_example_is_a_command_line_that_is_understood(words: tuple[str, ...], command: Any) -> None:
    example = next(line for line in command.help.splitlines() if line.strip().startswith("Example: "))
    arguments = shlex.split(example.partition("almoner ")[2].partition(" > ")[0])
    assert tuple(arguments[: len(words)]) == words
    with command.make_context("x", arguments[len(words) :]) as context:
        assert context.params is not None


@pytest.mark.parametrize(("words", "command"), COMMANDS.items())
def test_every_argument_and_option_is_explained(words: tuple[str, ...], command: Any) -> None:
    unexplained = [parameter.name for parameter in command.params if not getattr(parameter, "help", None)]
    assert unexplained == []


def test_json_where_there_is_a_table() -> None:
    assert {
        words for words, command in COMMANDS.items() if any("--json" in p.opts for p in command.params)
    } == WITH_JSON


GROUPS = ("audit", "bench", "job", "ledger", "policy", "redteam", "site", "threats", "workload")


@pytest.mark.parametrize("group", [(), *((name,) for name in GROUPS)])
def test_groups_alone_show_their_commands(group: tuple[str, ...], almoner: Shell) -> None:
    outcome = almoner(*group)
    text = outcome.out + outcome.err
    assert "Usage: " in text
    for words in COMMANDS:
        if words[:-1] == group:
            assert words[-1] in text


def test_each_command_alone_imports_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    module = __import__("almoner.cli.main", fromlist=["import_module"])
    real = module.import_module
    monkeypatch.setattr(module, "import_module", lambda name: imported.append(name) or real(name))
    build_app("policy")
    assert imported == ["almoner.cli.policies"]
    build_app("version")
    assert imported == ["almoner.cli.policies"]
    assert isinstance(build_app("no-such"), typer.Typer)


@pytest.mark.parametrize("name", MODULES)
def test_the_one_line_of_the_overview_is_that_of_the_command(name: str, almoner: Shell) -> None:
    assert MODULES[name][2].split(":")[0].split(",")[0].rstrip(".") in almoner("--help").out
