"""`almoner communication` on the four hospitals' public data, shortened."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_cases import Outcome, Shell

Communication = Callable[..., Outcome]
SHORT = ("--rounds", 2, "--seeds", 1, "--processes", 1, "--part", "noise")


@pytest.fixture
def communication(root: Path, tmp_path: Path, almoner: Shell, request: pytest.FixtureRequest) -> Communication:
    job, cache = root / "jobs" / "heart_disease.yaml", Path(request.config.cache.mkdir("almoner-data"))

    def run(*arguments: object) -> Outcome:
        return almoner("communication", job, "--root", root, "--cache", cache, "--out", tmp_path / "runs", *arguments)

    return run


def test_a_table_a_plot_and_what_makes_them_again(communication: Communication, tmp_path: Path) -> None:
    outcome = communication(*SHORT, "--epsilon", 8)
    assert outcome.code == 0
    [folder] = (tmp_path / "runs").iterdir()
    with (folder / "communication.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == ["as the job", "distributed noise"]
    assert {row["epsilon"] for row in rows} == {"8.0"}
    assert int(rows[1]["upload_bytes"]) > int(rows[0]["upload_bytes"])  # 8 bytes a value, not 8/3
    facts = json.loads((folder / "metrics.json").read_text())
    assert [each["number"] for each in facts["signal"]] == [1, 2]
    assert facts["figure"] == "accuracy"
    assert "target_epsilon: 8.0" in (folder / "config.yaml").read_text()
    assert (folder / "communication.png").read_bytes().startswith(b"\x89PNG")
    assert f"{float(rows[0]['accuracy']):.4f}" in outcome.out
    assert "2 of 2 runs, 0:00 left" in outcome.err


def test_json_for_scripts(communication: Communication) -> None:
    facts = json.loads(communication(*SHORT, "--share", 0.5, "--json").out)
    assert [line["rounds"] for line in facts["lines"]] == [2, 2]
    assert 80 < facts["sites"]["cleveland"] < 130


def test_records_that_are_no_images_are_not_shifted(communication: Communication) -> None:
    outcome = communication(*SHORT[:-1], "shifted")
    assert outcome.code == 2
    assert "no images" in outcome.err


def test_an_epsilon_that_no_job_can_have_is_refused(communication: Communication) -> None:
    outcome = communication(*SHORT, "--epsilon", -1)
    assert outcome.code == 2
    assert "--epsilon" in outcome.err


def test_a_job_without_privacy_has_nothing_to_compare_at(root: Path, almoner: Shell) -> None:
    outcome = almoner("communication", root / "jobs" / "next_word.yaml", "--root", root)
    assert outcome.code == 2
    assert outcome.err.startswith("error: job next-word: trains without privacy")
