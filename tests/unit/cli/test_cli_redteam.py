"""`almoner redteam poison` on the four hospitals' public data, shortened."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cli_cases import Outcome, Shell

Poison = Callable[..., Outcome]

SHORT = ("--rounds", 2, "--processes", 1, "--num-byzantine", 1, "--attack", "inner_product", "--defence", "median")


@pytest.fixture
def poison(root: Path, tmp_path: Path, almoner: Shell, request: pytest.FixtureRequest) -> Poison:
    job, cache = root / "jobs" / "heart_disease.yaml", Path(request.config.cache.mkdir("almoner-data"))

    def run(*arguments: object, declared: Path = root) -> Outcome:
        return almoner(
            "redteam", "poison", job, "--root", declared, "--cache", cache, "--out", tmp_path / "out", *arguments
        )

    return run


def test_a_table_and_three_files(poison: Poison, tmp_path: Path) -> None:
    outcome = poison(*SHORT, "--seeds", 2)
    assert outcome.code == 0
    lines = [line.split() for line in outcome.out.splitlines()]
    assert ["none", "ipm"] in lines
    plain, median = (next(line for line in lines if line[:1] == [name]) for name in ("plain_sum", "median"))
    assert plain[2].endswith("*")
    assert float(median[2].rstrip("*")) > float(plain[2].rstrip("*")) + 0.3
    assert "8 of 8 runs, 0:00 left" in outcome.err
    with (tmp_path / "out" / "poison-heart-disease.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["defence"], row["attack"], row["seed"]) for row in rows] == [
        (defence, attack, seed)
        for defence in ("plain_sum", "median")
        for attack in ("none", "inner_product")
        for seed in "01"
    ]
    facts = json.loads((tmp_path / "out" / "poison-heart-disease.json").read_text())
    assert facts["seeds"] == [0, 1]
    assert facts["rounds"] == 2
    assert facts["noise_multiplier"] > 5  # that of the whole job
    assert facts["unit"] == "patient"
    auc = {(cell["defence"], cell["attack"]): cell["auc"] for cell in facts["cells"]}
    means = [float(rows[index]["auc"]) + float(rows[index + 1]["auc"]) for index in (0, 2, 4, 6)]
    assert list(auc.values()) == pytest.approx([total / 2 for total in means], abs=1e-6)
    assert (tmp_path / "out" / "poison-heart-disease.png").read_bytes().startswith(b"\x89PNG")


def test_json_for_scripts_names_what_was_not_run(poison: Poison) -> None:
    outcome = poison(*SHORT[:-1], "bulyan", "--json")
    facts = json.loads(outcome.out)
    assert facts["not_run"][0]["defence"] == "bulyan"
    assert "needs 7 rows" in facts["not_run"][0]["reason"]
    assert {cell["defence"] for cell in facts["cells"]} == {"plain_sum"}


def test_data_that_is_not_registered_public_is_refused_unread(poison: Poison, root: Path, tmp_path: Path) -> None:
    declared = tmp_path / "declared"
    for folder in ("provisioning", "policies", "site_configs"):
        for path in (root / folder).glob("*.yaml"):
            copy = declared / folder / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(path.read_text())
    (declared / "provisioning" / "banks.yaml").unlink(missing_ok=True)
    path = declared / "site_configs" / "hungary.yaml"
    document = yaml.safe_load(path.read_text())
    document["datasets"]["cardiology"]["public"] = False
    path.write_text(yaml.safe_dump(document))
    outcome = poison(*SHORT, declared=declared)
    assert outcome.code == 2
    assert outcome.err == (
        "error: data set of hungary-cardiology: not registered public → baselines and attacks run on public data only\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--attack", "rumour"), "attack 'rumour': unknown → one of model_replacement, "),
        (("--defence", "hope"), "defence 'hope': unknown → one of plain_sum, krum, "),
        (("--num-byzantine", "2"), "num_byzantine 2: with 4 sites no rule bears it"),
    ],
)
def test_what_makes_no_sense_is_one_line(poison: Poison, arguments: tuple[str, ...], line: str) -> None:
    outcome = poison(*arguments)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {line}")
    assert outcome.err.count("\n") == 1
