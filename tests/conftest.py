"""Fixtures that every kind of test may use."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from almoner.schema.declarations import Declarations, load_declarations
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile("repeatable")
"""Properties are tried on the same cases in every run, and none has a deadline, for the machine is shared.

`pytest --hypothesis-profile=explore` looks for new cases."""


SECONDS = {"slow": 600, "integration": 300}
"""How long a test of a kind may take on a busy machine, with the fixtures that it is the first to use."""

DOWNLOAD_SECONDS = 900
"""The same where a real archive may have to be downloaded first, for which the product takes up to ten minutes."""

DOWNLOADS = re.compile(r'"almoner-data"|\bheart_(?:cache|files)\b|"build" / "cache"')
"""What a file has in its text whose tests read real archives, or use a fixture that does."""


@cache
def downloads(file: Path) -> bool:
    """Tell whether a file's tests may download."""
    return DOWNLOADS.search(file.read_text()) is not None


def seconds_for(item: pytest.Item) -> int | None:
    """Return how long a test may take, None for as long as pyproject.toml says.

    Federations keep theirs: a hang is likelier there than a slow registry, and their archives are small.
    """
    kind = next((kind for kind in SECONDS if item.get_closest_marker(kind)), None)
    if kind != "integration" and downloads(item.path):
        return DOWNLOAD_SECONDS
    return SECONDS[kind] if kind else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests that take long more time than pyproject.toml does, so that a hang of any other costs little."""
    for item in items:
        seconds = seconds_for(item)
        if seconds and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(seconds))


COLLECTED = pytest.StashKey[set[str]]()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note each test before any is left out by mark or name."""
    item.config.stash.setdefault(COLLECTED, set()).add(item.nodeid)


@pytest.fixture(scope="session")
def collected(pytestconfig: pytest.Config) -> set[str]:
    """All tests of the files that this run was asked for; none if it was asked for single tests."""
    return set() if any("::" in asked for asked in pytestconfig.args) else pytestconfig.stash[COLLECTED]


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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """See tests/scheduling.py."""
    from tests.scheduling import FederationsOnTwo

    return FederationsOnTwo(config, log) if config.getoption("dist") == "loadfile" else None


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
