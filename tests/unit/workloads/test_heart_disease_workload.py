from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from almoner.data.heart_disease import COLUMNS
from almoner.errors import DataError
from almoner.training.flat import flatten
from almoner.workloads.heart_disease import BOUNDS, CATEGORIES, NUM_FEATURES, HeartDisease, encode

HEADER = "record_id,split," + ",".join(COLUMNS)
RECORD = {
    "age": "50",
    "sex": "Male",
    "cp": "asymptomatic",
    "trestbps": "140",
    "chol": "250",
    "fbs": "FALSE",
    "restecg": "normal",
    "thalch": "130",
    "exang": "TRUE",
    "oldpeak": "1",
    "num": "2",
}
AGE, SEX, CP, TRESTBPS, CHOL, CHOL_MISSING, FBS = 0, 1, slice(2, 6), 6, 7, 8, 9
RESTECG, THALCH, EXANG, OLDPEAK = slice(10, 13), 13, 14, 15


def line(record_id: str = "1", split: str = "train", **changes: str) -> str:
    return ",".join((record_id, split, *({**RECORD, **changes}[column] for column in COLUMNS)))


def site_file(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "heart.csv"
    path.write_text("".join(text + "\n" for text in (header, *lines)), encoding="utf-8")
    return path


def test_reads_all_740_records(heart_files: dict[str, Path]) -> None:
    data = {site: HeartDisease().load(path) for site, path in heart_files.items()}
    sizes = {site: part.train.num_units + part.test.num_units for site, part in data.items()}
    assert sizes == {"cleveland": 303, "hungary": 261, "switzerland": 46, "va-long-beach": 130}
    missing = data["switzerland"].train.features[:, CHOL_MISSING]
    assert bool((missing == 1).all())
    assert bool((data["cleveland"].train.features[:, CHOL_MISSING] == 0).all())
    positive = sum(int(part.train.targets.sum() + part.test.targets.sum()) for part in data.values())
    assert positive == 383


def test_encoding_of_one_record() -> None:
    features = encode(RECORD)
    assert len(features) == NUM_FEATURES == 16
    assert features[AGE] == 0.0
    assert features[CP] == [-0.25, -0.25, -0.25, 0.75]
    assert (features[SEX], features[FBS], features[EXANG]) == (1.0, -1.0, 1.0)
    assert (features[CHOL], features[CHOL_MISSING]) == (0.0, 0.0)
    assert encode({**RECORD, "age": "80"})[AGE] == 3.0
    assert encode({**RECORD, "chol": "0"})[CHOL : CHOL_MISSING + 1] == [0.0, 1.0]
    assert encode({**RECORD, "sex": "female"})[SEX] == -1.0


@pytest.mark.parametrize("text", ["", "?", "nan", "inf", "-inf", "1e999", "fifty"])
def test_unreadable_numbers_are_neutral(text: str) -> None:
    features = encode({**RECORD, "age": text, "chol": text, "oldpeak": text})
    assert (features[AGE], features[OLDPEAK], features[CHOL], features[CHOL_MISSING]) == (0.0, 0.0, 0.0, 1.0)


def test_values_out_of_range_are_clamped() -> None:
    assert encode({**RECORD, "age": "1000"})[AGE] == 3.0
    assert encode({**RECORD, "age": "-5"})[AGE] == -3.0
    assert encode({**RECORD, "oldpeak": "1e300"})[OLDPEAK] == 3.0


def test_unknown_categories_are_neutral() -> None:
    features = encode({**RECORD, "sex": "", "cp": "new kind", "restecg": "?", "fbs": "yes"})
    assert (features[SEX], features[FBS]) == (0.0, 0.0)
    assert features[CP] == [0.0] * 4
    assert features[RESTECG] == [0.0] * 3


@given(st.fixed_dictionaries({column: st.text() for column in COLUMNS}))
def test_every_text_has_an_encoding_within_bounds(values: dict[str, str]) -> None:
    features = encode(values)
    assert len(features) == NUM_FEATURES
    assert all(-3.0 <= feature <= 3.0 for feature in features)


def test_declared_bounds_and_categories_cover_the_columns() -> None:
    assert set(BOUNDS) | set(CATEGORIES) | {"num"} == set(COLUMNS)


BAD_LINES = ["", "nonsense", line() + ",extra", line(record_id=""), line(split="both"), line(num=""), line(num="x")]


@pytest.mark.parametrize("bad", BAD_LINES)
def test_an_unusable_line_is_left_out_and_moves_no_other(bad: str, tmp_path: Path) -> None:
    good = [line("1"), line("2", age="70"), line("3", "test")]
    data = HeartDisease().load(site_file(tmp_path, good[0], bad, *good[1:]))
    clean = HeartDisease().load(site_file(tmp_path, *good))
    assert torch.equal(data.train.features, clean.train.features)
    assert torch.equal(data.test.features, clean.test.features)
    assert (data.train.num_units, data.test.num_units) == (2, 1)


def test_a_quote_cannot_swallow_the_next_record(tmp_path: Path) -> None:
    data = HeartDisease().load(site_file(tmp_path, line("1", sex='"'), line("2"), line("3", sex='"')))
    assert data.train.num_units == 3


def test_bytes_that_are_not_text_are_no_error(tmp_path: Path) -> None:
    path = site_file(tmp_path, line("1"))
    path.write_bytes(path.read_bytes() + line("2").encode().replace(b"Male", b"\xff\xfe\x00") + b"\n")
    data = HeartDisease().load(path)
    assert sorted(data.train.features[:, SEX].tolist()) == [0.0, 1.0]


def test_records_with_one_id_are_one_unit(tmp_path: Path) -> None:
    data = HeartDisease().load(site_file(tmp_path, line("7"), line("8"), line("7", age="60")))
    assert data.train.num_units == 2
    assert data.train.unit[0] == data.train.unit[2] != data.train.unit[1]


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "heart.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\n{line()}\r\n".encode())
    assert HeartDisease().load(path).train.num_units == 1


def test_no_records_at_all(tmp_path: Path) -> None:
    data = HeartDisease().load(site_file(tmp_path))
    assert data.train.num_units == 0
    assert tuple(data.train.features.shape) == (0, NUM_FEATURES)


@pytest.mark.parametrize("header", ["", "a,b", HEADER.replace("age,", ""), "x" + HEADER])
def test_another_header_is_a_data_error(header: str, tmp_path: Path) -> None:
    path = site_file(tmp_path, line(), header=header)
    with pytest.raises(DataError) as caught:
        HeartDisease().load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        HeartDisease().load(tmp_path / "none.csv")


def test_model_starts_from_zero_and_has_the_stated_dimension() -> None:
    task = HeartDisease()
    assert task.dimension == NUM_FEATURES + 1
    assert np.array_equal(flatten(task.build_model()), np.zeros(task.dimension))


def test_loss_and_labels() -> None:
    task = HeartDisease()
    outputs, targets = torch.tensor([0.0, 2.0, -2.0]), torch.tensor([1.0, 1.0, 1.0])
    assert task.loss(outputs, targets).tolist() == pytest.approx([np.log(2), np.log1p(np.exp(-2)), np.log1p(np.exp(2))])
    assert task.predict(outputs).tolist() == [0.0, 1.0, 0.0]
    assert tuple(task.build_model()(torch.zeros(3, NUM_FEATURES)).shape) == (3,)
