"""Fixtures that every kind of test may use."""

from pathlib import Path

import pytest

from almoner.schema.declarations import Declarations, load_declarations
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def declarations() -> Declarations:
    """The declarations of the checkout."""
    return load_declarations(ROOT)


@pytest.fixture(scope="session")
def heart_spec() -> JobSpec:
    """The main job."""
    return load_document(ROOT / "jobs" / "heart_disease.yaml", JobSpec)


COUNTS = ("ledger ", "gate fuzz: ")
"""How the lines begin in which a suite says how many cases it ran."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what suites counted, which pytest otherwise shows of failed tests alone."""
    printed = (line for report in terminalreporter.stats.get("passed", []) for line in report.capstdout.splitlines())
    counts = [line for line in printed if line.startswith(COUNTS)]
    if counts:
        terminalreporter.section("cases")
        for line in counts:
            terminalreporter.line(line)
