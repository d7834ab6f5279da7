"""A shell for the tests of the command line."""

import pytest
from cli_cases import Shell


@pytest.fixture
def almoner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.setenv("COLUMNS", "200")
    return Shell(monkeypatch, capsys)
