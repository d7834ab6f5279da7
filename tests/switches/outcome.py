"""A pytest plugin that writes how each test ended, and by what, where ALMONER_TEST_OUTCOME says."""

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

FILE = Path(os.environ["ALMONER_TEST_OUTCOME"])


def note(**fields: Any) -> None:
    with FILE.open("a") as file:
        file.write(json.dumps(fields) + "\n")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Note the phase, the outcome, and the exception with its first line."""
    report = (yield).get_result()
    error = call.excinfo
    kind = "" if error is None else error.type.__name__
    first = "" if error is None else (str(error.value).splitlines() or [""])[0]
    note(test=item.nodeid, when=report.when, outcome=report.outcome, kind=kind, message=first[:160])
