"""Points with their bands, as CSV and PNG, and the folder that a run leaves."""

import csv
import io
import json
from pathlib import Path

import pytest
import yaml

from almoner.errors import DataError
from almoner.experiments.arms import Run
from almoner.experiments.curve import CurvePoint, render_csv, summarise, with_own
from almoner.experiments.curve_plot import draw_curve
from almoner.experiments.runs import RunFolder
from almoner.schema.job import JobSpec

RESULTS = {
    Run("pooled_non_private", None, 0): {"accuracy": 0.9, "auc": 0.95},
    Run("federated", 1.0, 0): {"accuracy": 0.7, "auc": 0.8},
    Run("federated", 1.0, 1): {"accuracy": 0.8, "auc": 0.8},
    Run("federated", 1.0, 2): {"accuracy": 0.6, "auc": 0.8},
    Run("federated", 8.0, 0): {"accuracy": 0.85, "auc": 0.9},
}


def test_a_point_is_the_mean_of_its_seeds_and_its_band_all_of_them() -> None:
    points = summarise(RESULTS)
    assert len(points) == 6
    at_one = next(point for point in points if (point.epsilon, point.figure) == (1.0, "accuracy"))
    assert at_one == CurvePoint(
        "federated", 1.0, "accuracy", 3, pytest.approx(0.7), pytest.approx(0.1), low=0.6, high=0.8
    )
    single = next(point for point in points if (point.epsilon, point.figure) == (8.0, "auc"))
    assert (single.seeds, single.mean, single.stdev, single.low, single.high) == (1, 0.9, 0.0, 0.9, 0.9)


def test_csv_reads_back() -> None:
    rows = list(csv.DictReader(io.StringIO(render_csv(summarise(RESULTS)))))
    assert list(rows[0]) == ["arm", "epsilon", "figure", "seeds", "mean", "stdev", "low", "high"]
    assert rows[0]["epsilon"] == ""
    assert [(row["arm"], row["epsilon"], row["figure"]) for row in rows[2:4]] == [
        ("federated", "1", "accuracy"),
        ("federated", "1", "auc"),
    ]
    assert float(rows[2]["stdev"]) == pytest.approx(0.1)


def test_the_jobs_own_epsilon_is_on_the_curve() -> None:
    assert with_own((8.0, 1.0), 2.5) == (1.0, 2.5, 8.0)
    assert with_own((8.0, 1.0), 1.0) == (1.0, 8.0)
    assert with_own((8.0, 1.0), None) == ()


@pytest.mark.parametrize("with_epsilon", [True, False])
def test_a_plot_of_a_curve_and_of_lines_alone(with_epsilon: bool) -> None:
    points = tuple(point for point in summarise(RESULTS) if with_epsilon or point.epsilon is None)
    drawn = draw_curve(points, "title", {"accuracy": (1.0 if with_epsilon else None, 0.7)})
    assert drawn.startswith(b"\x89PNG")
    assert drawn != draw_curve(points, "title", {})


def test_a_run_leaves_a_folder_of_its_own(tmp_path: Path, heart_spec: JobSpec) -> None:
    first, second = (RunFolder.create(tmp_path / "runs", "heart-disease") for _ in range(2))
    assert first.path != second.path
    assert first.path.name.startswith("heart-disease-2")
    assert first.path.stat().st_mode & 0o777 == 0o700
    first.write_config(["almoner", "curve"], [heart_spec], [0, 1], epsilons=[1.0])
    config = yaml.safe_load((first.path / "config.yaml").read_text())
    assert (config["command"], config["seeds"], config["epsilons"]) == (["almoner", "curve"], [0, 1], [1.0])
    assert JobSpec.model_validate_json(json.dumps(config["jobs"][0])) == heart_spec
    assert {"almoner", "python", "torch"} <= set(config["versions"])
    assert json.loads(first.write_json("metrics.json", {"ε": 1}).read_text()) == {"ε": 1}


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(DataError, match=r"cannot be made: .* → give another --out"):
        RunFolder.create(tmp_path / "runs", "x")
