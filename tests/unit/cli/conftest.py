"""A shell for the tests of the command line."""

import pytest
from cli_cases import Shell

from almoner.cli.app import console


@pytest.fixture
def almoner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(console, "width", 200)  # it took COLUMNS, which test workers have, when it was made
    return Shell(monkeypatch, capsys)
