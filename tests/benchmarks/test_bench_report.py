"""The benchmark file: merging, and the table."""

import json
from pathlib import Path

import pytest
from report import describe_run, merge, render_table


def test_merging_replaces_one_benchmark_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "build" / "bench.json"
    merge(path, "flare", {"round_s": 1.0, "old": 2.0}, {"seconds": 5.0})
    merge(path, "heart", {"accuracy": {"mean": 0.8}}, {"seconds": 6.0})
    merge(path, "flare", {"round_s": 0.5}, {"seconds": 7.0})
    assert json.loads(path.read_text()) == {
        "flare": {"round_s": 0.5},
        "heart": {"accuracy": {"mean": 0.8}},
        "runs": {"flare": {"seconds": 7.0}, "heart": {"seconds": 6.0}},
    }


def test_a_figure_that_is_no_number_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    with pytest.raises(ValueError, match="JSON"):
        merge(path, "flare", {"round_s": float("nan")}, {})
    assert not path.exists()


def test_the_table_has_one_line_for_each_nested_figure() -> None:
    table = render_table("flare", {"a": 1.5, "phases": {"start_s": 2}})
    assert table.splitlines() == ["flare.a               1.5", "flare.phases.start_s  2"]


def test_a_run_names_machine_and_versions() -> None:
    run = describe_run()
    assert run["machine"]["cpus"] >= 1
    assert run["machine"]["memory_bytes"] > 2**20
    assert set(run["versions"]) == {"python", "almoner", "nvflare", "torch", "numpy", "tenseal", "cryptography"}
