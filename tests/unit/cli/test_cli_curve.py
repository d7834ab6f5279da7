"""`almoner curve` on the four hospitals' public data, shortened; and what `almoner run` refuses before it starts."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from cli_cases import Outcome, Shell
from tests.unit.privacy.privacy_cases import POPULATION, TREE, account, gaussian, job_id, reservation

from almoner.cli.comparison import _cell
from almoner.cli.curve import with_rounds
from almoner.cli.receipts import ledger_receipts
from almoner.cli.run import _compare_all
from almoner.experiments import baselines
from almoner.experiments.arms import Seeds
from almoner.experiments.curve import CurvePoint
from almoner.privacy.ledger import Ledger
from almoner.schema.declarations import load_declarations
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec

Curve = Callable[..., Outcome]
SHORT = ("--rounds", 2, "--seeds", 2, "--epsilon", 4, "--epsilon", 1)


@pytest.fixture
def curve(
    root: Path, tmp_path: Path, almoner: Shell, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Curve:
    monkeypatch.setattr(baselines, "MIN_STEPS", 20)
    cache = Path(request.config.cache.mkdir("almoner-data"))

    def run(*arguments: object, declared: Path = root, job: Path = root / "jobs" / "heart_disease.yaml") -> Outcome:
        return almoner("curve", job, "--root", declared, "--cache", cache, "--out", tmp_path / "runs", *arguments)

    return run


@pytest.fixture
def declared(root: Path, tmp_path: Path) -> Path:
    """A copy of the declarations that a test may change."""
    for name in ("provisioning", "policies", "site_configs", "jobs"):
        for path in (root / name).rglob("*.yaml"):
            target = tmp_path / "declared" / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(path.read_text())
    return tmp_path / "declared"


def test_a_curve_leaves_a_table_and_its_run(curve: Curve, tmp_path: Path) -> None:
    outcome = curve(*SHORT)
    assert outcome.code == 0, outcome.err
    progress = [line for line in outcome.err.splitlines() if "/14  " in line]
    assert len(progress) == 14
    assert "14/14" in progress[-1]
    assert "seed" in progress[-1]
    assert progress[-1].endswith("(0:00 left)")
    assert "heart-disease: on the 237 test records of all sites (public data)" in outcome.out
    (folder,) = (tmp_path / "runs").iterdir()
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "metrics.json", "curve.csv", "curve.png"}
    facts = json.loads((folder / "metrics.json").read_text())
    assert (facts["rounds"], facts["unit"], facts["test_records"]) == (2, "patient", 237)
    assert len(facts["runs"]) == 14
    with (folder / "curve.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["figure"] == "accuracy"]
    assert [(row["arm"], row["epsilon"]) for row in rows[:4]] == [
        ("federated", "1"), ("federated", "4"), ("pooled", "1"), ("pooled", "4"),
    ]  # fmt: skip
    own = [run["figures"]["accuracy"] for run in facts["runs"] if (run["arm"], run["epsilon"]) == ("federated", 1.0)]
    assert float(rows[0]["mean"]) == pytest.approx(sum(own) / 2, abs=1e-5)
    assert (float(rows[0]["low"]), float(rows[0]["high"])) == pytest.approx((min(own), max(own)), abs=1e-5)
    assert yaml.safe_load((folder / "config.yaml").read_text())["jobs"][0]["rounds"] == 2


def test_json_for_scripts_over_the_usual_epsilons(curve: Curve) -> None:
    facts = json.loads(curve("--rounds", 1, "--seeds", 1, "--processes", 1, "--json").out)
    assert [point["epsilon"] for point in facts["points"] if point["arm"] == "pooled"][::2] == [0.5, 1, 2, 4, 8]
    assert Path(facts["png"]).read_bytes().startswith(b"\x89PNG")


def test_data_that_is_not_registered_public_is_refused(curve: Curve, declared: Path, tmp_path: Path) -> None:
    path = declared / "site_configs" / "hungary.yaml"
    path.write_text(path.read_text().replace("public: true", "public: false"))
    outcome = curve(*SHORT, declared=declared)
    assert outcome.code == 2
    assert outcome.err == (
        "error: data set of hungary-cardiology: not registered public → baselines and attacks run on public data only\n"
    )
    assert not (tmp_path / "runs").exists()


def test_a_job_without_epsilon_has_no_curve(curve: Curve, declared: Path) -> None:
    path = declared / "jobs" / "heart_disease.yaml"
    document = yaml.safe_load(path.read_text())
    kept = {"unit", "neighboring_relation", "max_grad_norm", "sampling_prob"}
    document["privacy"] = {k: v for k, v in document["privacy"].items() if k in kept} | {"mechanism": "none"}
    document["releases"] = []
    path.write_text(yaml.safe_dump(document))
    outcome = curve(declared=declared, job=path)
    assert outcome.code == 2
    assert outcome.err.startswith("error: job heart-disease: mechanism none has no ε to draw → almoner run ")


@pytest.mark.parametrize(
    ("jobs", "line"),
    [
        (("heart_disease", "bank_credit_plain"), "run: the jobs are of bank-consortium, heart-consortium → "),
        (("heart_disease", "heart_disease"), "run: two jobs have one name → give each its own"),
        (("hospital_statistics",), ""),
    ],
)
def test_run_takes_training_jobs_of_one_consortium(
    jobs: tuple[str, ...], line: str, root: Path, almoner: Shell, tmp_path: Path
) -> None:
    paths = [root / "jobs" / f"{job}.yaml" for job in jobs]
    outcome = almoner("run", *paths, "--root", root, "--out", tmp_path / "runs")
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {line}")
    assert not (tmp_path / "runs").exists()


def test_jobs_on_the_same_data_share_a_pool_and_what_owes_nothing_to_them(
    root: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each job's figures are those that it has by itself."""
    monkeypatch.setattr(baselines, "MIN_STEPS", 20)
    cache, declarations = Path(request.config.cache.mkdir("almoner-data")), load_declarations(root)
    specs = [
        with_rounds(load_document(root / "jobs" / f"{name}.yaml", JobSpec), 2)
        for name in ("heart_disease", "heart_disease_distributed")
    ]
    together = _compare_all(specs, declarations, cache, [], Seeds(1, 1), 2)
    alone = [_compare_all([spec], declarations, cache, [], Seeds(1, 1), 1)[0] for spec in specs]
    assert [found.spec for found in together] == specs
    assert [found.points for found in together] == [found.points for found in alone]
    (first, second) = ({point for point in found.points if point.arm == "federated"} for found in together)
    assert first.isdisjoint(second)


def test_one_seed_has_no_spread() -> None:
    one = CurvePoint("federated", 1.0, "accuracy", 1, 0.91234, 0.0, 0.91234, 0.91234)
    three = replace(one, figure="perplexity", seeds=3, mean=174.123, stdev=2.5)
    assert (_cell(one), _cell(three)) == ("0.9123", "174.1 ± 2.5000")


def test_run_needs_a_lead_in_the_study(declared: Path, almoner: Shell, tmp_path: Path) -> None:
    path = declared / "provisioning" / "consortium.yaml"
    document = yaml.safe_load(path.read_text())
    document["studies"]["cardiology"]["admins"] = []
    path.write_text(yaml.safe_dump(document))
    outcome = almoner("run", declared / "jobs" / "heart_disease.yaml", "--root", declared, "--out", tmp_path / "runs")
    assert outcome.code == 2
    assert "study cardiology: no lead is among its admins" in outcome.err


def test_run_refuses_first_what_a_site_would_refuse_last(declared: Path, almoner: Shell, tmp_path: Path) -> None:
    path = declared / "jobs" / "heart_disease.yaml"
    path.write_text(path.read_text().replace("target_epsilon: 1.0", "target_epsilon: 2.9"))
    outcome = almoner("run", path, "--root", declared, "--out", tmp_path / "runs")
    assert outcome.code == 2
    assert outcome.err.startswith("error: refused by cleveland: job heart-disease asks training ε=2.90")
    assert outcome.out == ""


def test_receipts_say_what_each_step_cost_and_where_the_account_stands(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger.sqlite", "cleveland") as ledger:
        ledger.open_account(account())
        for number in (1, 2):
            ledger.reserve(reservation(number))
            ledger.start(job_id(number), TREE)
            ledger.commit(job_id(number), "train-0001")
        rows = ledger_receipts(ledger)
        state = ledger.account(POPULATION)
    assert [(row["job_id"], row["step"]) for row in rows] == [(job_id(1), "train-0001"), (job_id(2), "train-0001")]
    assert rows[0]["events"] == [gaussian().model_dump(mode="json")]
    assert rows[0]["epsilon_before"] == 0.0
    assert rows[1]["epsilon_before"] == rows[0]["epsilon_after"] < rows[1]["epsilon_after"]
    assert rows[1]["epsilon_after"] == state.epsilon_committed
