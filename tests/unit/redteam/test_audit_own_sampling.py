"""The count of draws by the sites' own source: what it notices, how sharply, and what it answers about honest ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from almoner.redteam.audit.checks import CHECK_SIGNIFICANCE, SAMPLING_FALSE_ALARM, Check, own_sampling_check
from almoner.redteam.audit.claim import AuditedRun, audited_run
from almoner.redteam.audit.faults import HONEST
from almoner.redteam.audit.report import audit_job
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.training.noise import UnsafeSeededRandom


class _Biased(UnsafeSeededRandom):
    """A source by which units are drawn so many times as often."""

    def __init__(self, times: float) -> None:
        super().__init__(3)
        self._times = times

    def uniform_integers(self, size: int) -> NDArray[np.int64]:
        return (super().uniform_integers(size) / self._times).astype(np.int64)


def audited(root: Path, job: str) -> AuditedRun:
    return audited_run(load_document(root / "jobs" / f"{job}.yaml", JobSpec), 4)


def counted(run: AuditedRun, times: float) -> Check:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return own_sampling_check(run, HONEST, _Biased(times))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("job", ["heart_disease", "heart_disease_distributed", "bank_credit"])
def test_five_percent_more_or_fewer_are_noticed_and_an_honest_source_is_not_accused(root: Path, job: str) -> None:
    run = audited(root, job)
    honest = counted(run, 1.0)
    assert honest.passed
    assert (honest.low, honest.high) == (pytest.approx(0.98, abs=0.001), pytest.approx(1.02, abs=0.001))
    assert SAMPLING_FALSE_ALARM < CHECK_SIGNIFICANCE
    for times in (0.95, 1.05):
        off = counted(run, times)
        assert not off.passed
        assert off.measured == pytest.approx(times, abs=0.02)


def test_where_units_are_hardly_ever_drawn_the_limits_are_wider(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("almoner.redteam.audit.checks._MOST_UNITS", 1000)
    found = counted(replace(audited(root, "heart_disease"), sampling_prob=0.01), 1.0)
    assert found.passed
    assert found.low < 0.7 < 1.3 < found.high


def test_an_audit_leaves_the_number_of_threads_as_it_was(heart_spec: JobSpec) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        audit_job(heart_spec, 4, num_canaries=100, num_runs=1, faults=[HONEST])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
