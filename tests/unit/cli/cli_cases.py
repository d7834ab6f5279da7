"""Runs the command line as the shell does, and walks all commands."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import typer

from almoner.cli.main import build_app, main


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Shell:
    """Runs `almoner` in this process with its own argv."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> Outcome:
        self._monkeypatch.setattr(sys, "argv", ["almoner", *map(str, arguments)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = self._capsys.readouterr()
        code = caught.value.code
        return Outcome(code if isinstance(code, int) else 0 if code is None else 1, out, err)


def walk(command: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command that is not a group, with the words that call it."""
    if hasattr(command, "commands"):
        for word, inner in command.commands.items():
            yield from walk(inner, (*name, word))
    else:
        yield name, command


COMMANDS = dict(walk(typer.main.get_command(build_app(None))))
"""All commands by the words that call them."""
