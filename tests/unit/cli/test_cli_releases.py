"""`almoner release` and `almoner site public-data` as a user types them."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from cli_cases import Shell

from almoner.data import registry
from almoner.data.adult_income import COLUMNS
from almoner.data.records import SourceRecord
from almoner.data.registry import ADULT_INCOME
from almoner.data.tables import table_files
from almoner.flare.kits.provisioning import provision

ANALYST = "users/analyst@census-office.example"
OFFICE = "sites/census-office"


@pytest.fixture
def census(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A census consortium, and an archive of 400 made-up persons behind the registered name."""

    def parse(content: bytes) -> tuple[SourceRecord, ...]:
        people = []
        for i in range(400):
            known = {"age": str(20 + i % 60), "hours-per-week": "40", "education": ("HS-grad", "Masters")[i % 2]}
            known |= {"gender": ("Male", "Female")[i % 3 == 0], "income": (">50K", "<=50K")[i % 4 > 0]}
            people.append(SourceRecord(str(i), "census-office", tuple(known.get(c, "?") for c in COLUMNS)))
        return tuple(people)

    made_up = replace(ADULT_INCOME, site_files=partial(table_files, COLUMNS, parse))
    monkeypatch.setitem(registry.DATASETS, "adult_income", made_up)
    monkeypatch.setattr("almoner.data.prepare.read_members", lambda archive, cache: {"adult": b""})
    return provision(root, tmp_path / "census", 8122, "census").root


def test_a_census_from_data_to_answers(root: Path, census: Path, almoner: Shell) -> None:
    placed = almoner("site", "public-data", str(census))
    assert (placed.code, placed.out) == (0, "census-office: data/adult.csv\n")
    job = str(root / "jobs" / "census_release.yaml")
    run = ("release", "run", job, "--site", str(census / OFFICE), "--kit", str(census / ANALYST))
    first, again, parsed = almoner(*run), almoner(*run), almoner(*run, "--json")
    assert first.code == again.code == parsed.code == 0
    assert first.out.startswith("admitted by census-office: job census-release asks")
    assert "ε=1 for one person (add_or_remove_one), by integer_laplace, split: age 20%, hours 20%" in first.out
    assert "nothing charged" in again.out
    found = json.loads(parsed.out)
    assert found["repeated"]
    sentences = [answer["sentence"] for answer in found["answers"]]
    assert all(sentence in first.out and sentence in again.out for sentence in sentences)


def test_a_refusal_is_exit_code_1(root: Path, census: Path, almoner: Shell, tmp_path: Path) -> None:
    text = (root / "jobs" / "census_release.yaml").read_text().replace("low: 17, high: 90", "low: 0, high: 120")
    (tmp_path / "wide.yaml").write_text(text)
    kit, site = str(census / ANALYST), str(census / OFFICE)
    refused = almoner("release", "run", str(tmp_path / "wide.yaml"), "--site", site, "--kit", kit)
    assert refused.code == 1
    assert "column age is asked from 0 to 120, it is declared from 17 to 90 → ask within the bounds" in refused.out


@pytest.mark.parametrize("epsilon", ["0", "-1.0"])
def test_epsilon_of_nothing_is_one_line(root: Path, almoner: Shell, tmp_path: Path, epsilon: str) -> None:
    text = (root / "jobs" / "census_release.yaml").read_text()
    (tmp_path / "none.yaml").write_text(text.replace("target_epsilon: 1.0", f"target_epsilon: {epsilon}"))
    refused = almoner("release", "run", str(tmp_path / "none.yaml"), "--site", "s", "--kit", "k")
    assert refused.code == 2
    assert "privacy.target_epsilon" in refused.err
    assert refused.err.count("\n") == 1


def test_a_curve_of_two_runs(root: Path, census: Path, almoner: Shell, tmp_path: Path) -> None:
    job, out = str(root / "jobs" / "census_release.yaml"), tmp_path / "curves"
    found = almoner("release", "curve", job, "--root", str(root), "--out", str(out), "--runs", "2", "--json")
    assert found.code == 0
    points = json.loads(found.out)["points"]
    assert {point["epsilon"] for point in points} == {0.1, 0.3, 1.0, 3.0, 10.0}
    assert {path.name for path in out.iterdir()} == {"census-release-curve.png", "census-release-curve.csv"}


def test_a_consortium_without_public_data(almoner: Shell, tmp_path: Path) -> None:
    refused = almoner("site", "public-data", str(tmp_path))
    assert refused.code == 2
    assert "no site there declares registered public data" in refused.err
