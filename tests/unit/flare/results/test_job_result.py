"""What a job leaves: weights are finite and of the right number, and a damaged file is one clear error."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from almoner.errors import FederationError, ProtocolError
from almoner.flare.results.job_result import RESULT_FILE, JobResult, RoundRecord, read_result, write_result

RESULT = JobResult(
    job="heart",
    rounds=[RoundRecord(round=1, contributors=("a", "b")), RoundRecord(round=2, contributors=("b",))],
    releases={"a": "00" * 16},
    model=[0.1, -2.0, 1e-300],
)


def test_results_come_back_from_wherever_the_download_puts_them(tmp_path: Path) -> None:
    folder = tmp_path / "download" / "workspace" / "deeper"
    folder.mkdir(parents=True)
    write_result(folder, RESULT)
    assert read_result(tmp_path / "download") == RESULT


def test_who_contributed() -> None:
    assert RESULT.has("a")
    assert RESULT.has("b")
    assert not RESULT.has("c")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_weights_come_back_bit_for_bit(weights: list[float]) -> None:
    body = np.array(weights, dtype="<f8").tobytes()
    assert np.array(JobResult.weights_of(body, len(weights)), dtype="<f8").tobytes() == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        np.zeros(2).tobytes(),
        np.zeros(4).tobytes(),
        np.zeros(3).tobytes()[:-1],
        np.array([0, np.nan, 0.0]).tobytes(),
        np.array([0, np.inf, 0.0]).tobytes(),
    ],
)
def test_other_bodies_are_no_model(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a vector of finite numbers of the job's dimension"):
        JobResult.weights_of(body, 3)


def refused(folder: Path) -> str:
    with pytest.raises(FederationError) as caught:
        read_result(folder)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_a_job_without_result(tmp_path: Path) -> None:
    assert refused(tmp_path) == f"{tmp_path}: the job left no result → see `almoner job list` for how it ended"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b'{"job": 1}',
        b'{"job": "x", "extra": 1}',
        b'{"job": "x", "rounds": [{"round": 1}]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_result(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RESULT_FILE).write_bytes(content)
    assert refused(tmp_path) == f"{tmp_path / RESULT_FILE}: not a result of this release"


def test_a_result_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / RESULT_FILE).mkdir()
    assert "not a result of this release" in refused(tmp_path)
