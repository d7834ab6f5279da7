import json
from pathlib import Path

import pytest
import yaml
from cli_cases import Shell

JOB = "jobs/heart_disease.yaml"
SMALL = ("--rounds", 1, "--seeds", 2, "--splits", 1, "--processes", 1)


@pytest.fixture
def cache(request: pytest.FixtureRequest) -> Path:
    return Path(request.config.cache.mkdir("almoner-data"))


def test_a_run_leaves_its_folder(almoner: Shell, root: Path, cache: Path, tmp_path: Path) -> None:
    places = ("--root", root, "--cache", cache, "--out", tmp_path)
    outcome = almoner(
        "personalise", root / JOB, *places, *SMALL, "--method", "ditto", "--rate", 1, "--epsilon", 4, "--json"
    )
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    (folder,) = tmp_path.iterdir()
    assert str(folder) == facts["folder"]
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml", "metrics.json", "personalise.csv", "personalise.png", "candidates.csv"
    }  # fmt: skip
    assert set(facts["methods"]) == {"global", "ditto"}
    assert (facts["target_epsilon"], facts["rounds"], facts["seeds"]) == (4.0, 1, [0, 1])
    assert facts["methods"]["ditto"]["cost"]["num_steps"] == 2
    assert set(facts["methods"]["ditto"]["gain"]) == {"cleveland", "hungary", "switzerland", "va-long-beach", "all"}
    assert yaml.safe_load((folder / "config.yaml").read_text())["jobs"][0]["privacy"]["target_epsilon"] == 4.0
    assert "choosing: 5 of 5 runs" in outcome.err
    assert "measuring: 4 of 4 runs" in outcome.err


def test_an_unknown_method_is_one_line(almoner: Shell, root: Path, cache: Path, tmp_path: Path) -> None:
    outcome = almoner(
        "personalise", root / JOB, "--root", root, "--cache", cache, "--out", tmp_path, "--method", "magic"
    )
    assert outcome.code == 2
    assert outcome.err.strip().splitlines()[-1].startswith("error: method 'magic': unknown → one of global, alone")
    assert not list(tmp_path.iterdir())


def test_data_that_is_not_public_is_refused(almoner: Shell, root: Path, cache: Path, tmp_path: Path) -> None:
    for folder in ("provisioning", "policies", "site_configs"):
        (tmp_path / folder).mkdir()
        for path in (root / folder).glob("*.yaml"):
            text = path.read_text().replace("public: true ", "public: false")
            (tmp_path / folder / path.name).write_text(text)
    runs = tmp_path / "runs"
    outcome = almoner("personalise", root / JOB, "--root", tmp_path, "--cache", cache, "--out", runs, *SMALL)
    assert outcome.code == 2
    assert "not registered public" in outcome.err
    assert not runs.exists()
