"""The banks' workload: total encoding, declared bounds, first weights that owe nothing to data, and that it learns."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from almoner.data.give_me_some_credit import COLUMNS
from almoner.errors import DataError
from almoner.experiments.public import PublicSite
from almoner.experiments.simulate import TrainingPlan, simulate_federation
from almoner.schema.site import DatasetConfig
from almoner.training.flat import flatten
from almoner.training.gradients import UnitGradients
from almoner.training.noise import UnsafeSeededRandom
from almoner.workloads.bank_credit import FEATURES, HIDDEN, NUM_FEATURES, BankCredit, encode
from almoner.workloads.metrics import auc, outputs_at

TASK = BankCredit()
HEADER = "record_id,split," + ",".join(COLUMNS)
RECORD = {
    "defaulted": "0",
    "utilisation": "0.5",
    "age": "50",
    "late_30_59": "0",
    "debt_ratio": "0.35",
    "monthly_income": "5000",
    "open_lines": "8",
    "late_90": "0",
    "real_estate_lines": "1",
    "late_60_89": "0",
    "dependents": "0",
}
UTILISATION, AGE, LATE_30, LATE_CODED, DEBT, INCOME, NO_INCOME, LINES, LATE_90, ESTATE, LATE_60, DEPENDENTS = range(12)


def line(record_id: str = "1", split: str = "train", **changes: str) -> str:
    return ",".join((record_id, split, *({**RECORD, **changes}[column] for column in COLUMNS)))


def site_file(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "credit.csv"
    path.write_text("".join(text + "\n" for text in (header, *lines)), encoding="utf-8")
    return path


def test_the_usual_account_is_all_zeros() -> None:
    assert encode(RECORD) == [0.0] * NUM_FEATURES
    assert NUM_FEATURES == 12
    assert {"defaulted", *FEATURES} == set(COLUMNS)


def test_bounds_are_two_from_the_usual_value() -> None:
    high = encode(RECORD | dict.fromkeys(("utilisation", "age", "debt_ratio", "monthly_income"), "1e300"))
    assert (high[UTILISATION], high[AGE], high[DEBT], high[INCOME]) == (2.0, 2.0, 2.0, pytest.approx(2.0))
    low = encode(RECORD | {"utilisation": "-5", "age": "18", "monthly_income": "2"})
    assert (low[UTILISATION], low[AGE]) == (-2.0, -2.0)
    assert -2.0 <= low[INCOME] < -1.9
    assert encode(RECORD | {"late_90": "3"})[LATE_90] == encode(RECORD | {"late_90": "17"})[LATE_90] == 2.0
    assert encode(RECORD | {"late_90": "1"})[LATE_90] == pytest.approx(1.0)


def test_what_is_not_known_is_usual_and_said_where_the_table_says_so() -> None:
    features = encode(dict.fromkeys(COLUMNS, ""))
    assert [number for number, value in enumerate(features) if value] == [LATE_CODED, NO_INCOME]
    coded = encode(RECORD | dict.fromkeys(("late_30_59", "late_60_89", "late_90"), "98"))
    assert [number for number, value in enumerate(coded) if value] == [LATE_CODED]
    for income in ("0", "1", "-3", "nan", "inf", "x"):
        assert encode(RECORD | {"monthly_income": income})[INCOME : NO_INCOME + 1] == [0.0, 1.0]
    assert encode(RECORD | {"age": "0"})[AGE] == 0.0


@given(st.fixed_dictionaries({column: st.one_of(st.text(), st.floats().map(str)) for column in COLUMNS}))
def test_every_text_has_an_encoding_within_bounds(values: dict[str, str]) -> None:
    features = encode(values)
    assert len(features) == NUM_FEATURES
    assert all(-2.0 <= feature <= 2.0 for feature in features)


def test_a_file_is_read_line_by_line(tmp_path: Path) -> None:
    bad = ["", "x", line(defaulted=""), line(defaulted="nan"), line(split="both"), line(record_id=""), line() + ",1"]
    good = [line("7", defaulted="1"), line("8", "test"), line("9", age="30"), line("7", age="31")]
    data = TASK.load(site_file(tmp_path, *good[:2], *bad, *good[2:]))
    assert data.train.unit.tolist() == [0, 1, 0]
    assert data.train.targets.tolist() == [1.0, 0.0, 0.0]
    assert data.test.num_units == 1
    with pytest.raises(DataError, match="first line"):
        TASK.load(site_file(tmp_path, line(), header=HEADER.replace("age", "years")))


def test_first_weights_are_bytes_of_a_public_text() -> None:
    """Every weight is an odd multiple of 1/512 below 1/2: exact in float32, the same on every machine."""
    weights = flatten(TASK.build_model())
    drawn = hashlib.shake_256(b"almoner/bank_credit/first weights/1").digest(HIDDEN * (NUM_FEATURES + 1))
    hidden, rest = weights[: HIDDEN * NUM_FEATURES], weights[HIDDEN * NUM_FEATURES :]
    assert [round(value * 512) for value in hidden] == [2 * byte - 255 for byte in drawn[HIDDEN:]]
    assert [round(value * 512) for value in rest[HIDDEN:-1]] == [2 * byte - 255 for byte in drawn[:HIDDEN]]
    assert not rest[:HIDDEN].any()
    assert rest[-1] == 0
    assert np.array_equal(weights * 512, np.rint(weights * 512))


def test_gradients_of_a_unit_are_those_of_autograd(tmp_path: Path) -> None:
    data = TASK.load(site_file(tmp_path, line("1", age="30"), line("2", defaulted="1", late_90="2"), line("1"))).train
    model = TASK.build_model()
    TASK.loss(model(data.features), data.targets).sum().backward()  # type: ignore[no-untyped-call]
    expected = np.concatenate([part.grad.numpy().ravel() for part in model.parameters() if part.grad is not None])
    made = UnitGradients(
        TASK.build_model(), TASK.loss, data, max_grad_norm=64.0, micro_batch_size=2, min_micro_batches=1
    )
    assert made.clipped_sum(flatten(TASK.build_model()), np.array([0, 1])) == pytest.approx(expected, abs=1e-4)


def test_labels_and_outputs() -> None:
    outputs = torch.tensor([0.0, 2.0, -2.0])
    assert TASK.predict(outputs).tolist() == [0.0, 1.0, 0.0]
    assert tuple(TASK.build_model()(torch.zeros(3, NUM_FEATURES)).shape) == (3,)
    assert TASK.loss(outputs, torch.ones(3)).tolist() == pytest.approx([np.log(2), 0.126928, 2.126928], abs=1e-5)


def test_two_banks_learn_with_privacy(tmp_path: Path) -> None:
    """Made accounts, of which the punctual ones default, so that the first weights rank them the wrong way round."""
    rng = np.random.default_rng(5)
    sites = {}
    for name in ("bank-01", "bank-02"):
        late = rng.integers(0, 4, size=1500)
        defaulted = rng.random(1500) < 0.92 - 0.3 * late
        lines = [
            line(str(number), "train" if number % 3 else "test", late_90=str(times), defaulted=str(int(default)))
            for number, (times, default) in enumerate(zip(late, defaulted, strict=True))
        ]
        (tmp_path / name).mkdir()
        config = DatasetConfig(
            population=name, path="data/credit.csv", nominal_records=1000, public=True, one_record_per_unit=True
        )
        sites[name] = PublicSite(config, TASK.load(site_file(tmp_path / name, *lines)))
    plan = TrainingPlan(rounds=8, local_steps=2, learning_rate=8.0, max_grad_norm=1.0, sampling_prob=0.2)
    weights = simulate_federation(TASK, sites, plan, noise_multiplier=2.0, rng=UnsafeSeededRandom(1))
    test = sites["bank-01"].data.test
    first, last = (outputs_at(TASK, at, test).numpy() for at in (flatten(TASK.build_model()), weights))
    assert auc(first, test.targets.numpy() > 0.5) < 0.2
    assert auc(last, test.targets.numpy() > 0.5) > 0.8
