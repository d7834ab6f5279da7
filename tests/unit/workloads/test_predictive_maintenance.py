"""The drives' workload: what it may know of a drive, total encoding, public first weights, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from almoner.data.hard_drives import COLUMNS
from almoner.errors import DataError
from almoner.experiments.public import PublicSite
from almoner.experiments.simulate import TrainingPlan, simulate_federation
from almoner.schema.site import DatasetConfig
from almoner.training.noise import UnsafeSeededRandom
from almoner.workloads.checks import verify_records_apart, verify_trainable
from almoner.workloads.metrics import figures_at
from almoner.workloads.predictive_maintenance import MODELS, NUM_FEATURES, PredictiveMaintenance, encode

TASK = PredictiveMaintenance()
HEADER = "record_id,split," + ",".join(COLUMNS)
DRIVE = {
    "failed": "0",
    "days": "500.000",
    "model": "WDC",
    "temperature": "30",
    "reallocated": "0",
    "read_errors": "0",
    "pending": "0",
}


def line(record_id: str = "1", split: str = "train", **changes: str) -> str:
    return ",".join((record_id, split, *({**DRIVE, **changes}[column] for column in COLUMNS)))


def site_file(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "drives.csv"
    path.write_text("".join(text + "\n" for text in (header, *lines)), encoding="utf-8")
    return path


def test_a_drive_is_its_temperature_its_counters_and_its_model() -> None:
    assert NUM_FEATURES == 4 + len(MODELS) == 34
    assert encode(DRIVE) == [0.0, 0.0, 0.0, 0.0, *(0.0 for _ in MODELS[:-1]), 1.0]
    assert encode(DRIVE | {"temperature": "60", "pending": "1"})[:4] == [2.0, 0.0, 0.0, 1.0]
    assert encode(DRIVE | {"temperature": "-3", "reallocated": "17", "read_errors": "1"})[:4] == [-2.0, 1.0, 1.0, 0.0]
    assert encode(DRIVE | {"model": "ST4000DM000"})[4:].index(1.0) == MODELS.index("ST4000DM000")
    assert not any(encode(DRIVE | {"model": "unheard-of", "temperature": "warm", "pending": ""}))


@pytest.mark.parametrize("column", ["failed", "days"])
def test_what_tells_the_outcome_is_no_feature(column: str) -> None:
    """Days at failure or at the end of the study are known when it is too late to predict."""
    assert encode(DRIVE | {column: "1"}) == encode(DRIVE | {column: "2000"}) == encode(DRIVE | {column: ""})


@given(st.fixed_dictionaries({column: st.one_of(st.text(), st.floats().map(str)) for column in COLUMNS}))
def test_every_text_has_an_encoding_within_bounds(values: dict[str, str]) -> None:
    features = encode(values)
    assert len(features) == NUM_FEATURES
    assert all(-2.0 <= feature <= 2.0 for feature in features)


def test_a_file_is_read_line_by_line(tmp_path: Path) -> None:
    bad = ["", "x", line(failed=""), line(failed="nan"), line(split="both"), line(record_id=""), line() + ",1"]
    good = [line("7", failed="1"), line("8", "test"), line("9", pending="1")]
    data = TASK.load(site_file(tmp_path, *good[:2], *bad, *good[2:]))
    assert data.train.targets.tolist() == [1.0, 0.0]
    assert data.train.features[:, 3].tolist() == [0.0, 1.0]
    assert data.test.num_units == 1
    with pytest.raises(DataError, match="first line"):
        TASK.load(site_file(tmp_path, line(), header=HEADER.replace("days", "hours")))


def test_records_do_not_mix(tmp_path: Path) -> None:
    verify_trainable(TASK)
    lines = [line(str(number), temperature=str(20 + number), pending=str(number % 2)) for number in range(6)]
    verify_records_apart(TASK, TASK.load(site_file(tmp_path, *lines)).train)


def test_two_makers_learn_with_privacy(tmp_path: Path) -> None:
    """Made drives, of which those without pending sectors fail: the other way round than drives do."""
    rng = np.random.default_rng(5)
    sites = {}
    for name, model in (("maker-a", "HGST"), ("maker-d", "WDC")):
        pending = rng.integers(0, 2, size=1500)
        failed = rng.random(1500) < 0.9 - 0.8 * pending
        lines = [
            line(str(number), "train" if number % 3 else "test", model=model, pending=str(flag), failed=str(int(fails)))
            for number, (flag, fails) in enumerate(zip(pending, failed, strict=True))
        ]
        (tmp_path / name).mkdir()
        config = DatasetConfig(
            population=name, path="data/drives.csv", nominal_records=1000, public=True, one_record_per_unit=True
        )
        sites[name] = PublicSite(config, TASK.load(site_file(tmp_path / name, *lines)))
    plan = TrainingPlan(rounds=8, local_steps=2, learning_rate=8.0, max_grad_norm=1.0, sampling_prob=0.2)
    weights = simulate_federation(TASK, sites, plan, noise_multiplier=2.0, rng=UnsafeSeededRandom(1))
    figures = figures_at(TASK, weights, sites["maker-a"].data.test)
    assert list(figures) == ["auc", "average_precision", "accuracy"]
    assert figures["auc"] > 0.8
    assert figures["accuracy"] > 0.8
