"""A site that is killed in mid-round: the others go on or the job ends, as min_sites says."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from almoner.flare.exporting import export_job
from almoner.flare.federation import Federation
from almoner.flare.job_folder import JOB_LOGS
from almoner.flare.job_result import read_result
from almoner.flare.provisioning import ProvisionedConsortium
from almoner.flare.session import open_session
from almoner.flare.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.privacy.plan import job_events
from almoner.schema.job import JobSpec

LEAD = "lead@cleveland.example"
VICTIM = "hungary"
JOB_SECONDS = 300.0


def wait_until(ready: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "the awaited event did not come"
        time.sleep(0.005)


def long_rounds(spec: JobSpec, min_sites: int) -> JobSpec:
    """Rounds of many local steps, long enough to be in one; the noise is calibrated to all of them."""
    training = spec.training.model_copy(update={"local_steps": 30})
    return spec.model_copy(update={"rounds": 3, "min_sites": min_sites, "training": training, "releases": ()})


@pytest.mark.threat("T-09")
@pytest.mark.parametrize("min_sites", [3, 4])
def test_killed_in_mid_round(
    consortium: ProvisionedConsortium, federation: Federation, heart_spec: JobSpec, tmp_path: Path, min_sites: int
) -> None:
    spec = long_rounds(heart_spec, min_sites)
    ledger = Ledger.open(consortium.site_folder(VICTIM) / LEDGER)
    before = ledger.account(f"{VICTIM}-cardiology").rdp_spent
    with open_session(consortium.user_kit(LEAD), spec.study) as session:
        job_id = session.submit(export_job(spec, consortium.declarations, tmp_path))
        wait_until(lambda: ledger.committed(job_id, "train-0002"), 120.0)
        federation.kill(VICTIM)
        report = session.follow(job_id, lambda progress: None, JOB_SECONDS)
        assert report.completed == (min_sites == 3), report
        if report.completed:
            result = read_result(session.download(job_id, tmp_path / "download"))
            assert [len(record.contributors) for record in result.rounds] == [4, 3, 3]
            assert VICTIM not in result.rounds[1].contributors
    account = ledger.account(f"{VICTIM}-cardiology")
    assert account.rdp_spent == before + job_events(spec).charge(account.filter.order)
    assert ledger.committed(job_id, "train-0002")
    assert not ledger.committed(job_id, "train-0003")
    ledger.verify()
    folder = consortium.site_folder(VICTIM) / "kit" / job_id
    assert folder.is_dir()
    federation.start_one(VICTIM)
    federation.wait_for_sites((VICTIM,))
    wait_until(lambda: not folder.exists(), 60.0)
    assert (consortium.site_folder(VICTIM) / JOB_LOGS / f"{job_id}.txt").stat().st_size > 0
