"""What is rendered today is what is kept here; see `regenerate.py` for how to write the files anew."""

import difflib
from pathlib import Path

import pytest
from regenerate import HERE, render_golden

FILES = render_golden()


@pytest.mark.parametrize("name", sorted(FILES))
def test_rendering_is_unchanged(name: str) -> None:
    kept = (HERE / name).read_bytes()
    difference = difflib.unified_diff(kept.decode().splitlines(), FILES[name].decode().splitlines(), "kept", "rendered")
    assert kept == FILES[name], "\n".join([*difference, "meant? .venv/bin/python -m tests.golden.regenerate"])


def test_no_golden_file_is_left_over() -> None:
    kept = {path.relative_to(HERE).as_posix() for path in HERE.rglob("*.json")}
    assert kept == set(FILES)


def test_nothing_of_this_machine_is_in_them(root: Path) -> None:
    assert all(str(root).encode() not in content for content in FILES.values())
