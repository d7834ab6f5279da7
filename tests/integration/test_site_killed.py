"""A site that is killed in mid-round: the others go on or the job ends, as min_sites says. A server that stalls."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation
from almoner.flare.commands.session import open_session
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.results.job_result import read_result
from almoner.flare.site.job_folder import JOB_LOGS
from almoner.flare.site.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.privacy.plan import job_events
from almoner.schema.job import JobSpec

LEAD = "lead@cleveland.example"
VICTIM = "hungary"
JOB_SECONDS = 300.0
STALL_SECONDS = 6.0
"""More than the 5 s after which FLARE gives a command up."""


def wait_until(ready: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "the awaited event did not come"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the hooks say that the victim is held; see hooks/rounds.py."""
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module")
def federation(consortium: ProvisionedConsortium, notes: Path) -> Iterator[Federation]:
    variables = {"PYTHONPATH": str(Path(__file__).parent / "hooks"), "ALMONER_TEST_ROUNDS": str(notes)}
    with Federation(consortium, variables) as running:
        running.start(lambda text: None)
        yield running


@pytest.mark.threat("T-09")
def test_killed_in_mid_round(
    consortium: ProvisionedConsortium, federation: Federation, notes: Path, heart_spec: JobSpec, tmp_path: Path
) -> None:
    """Two jobs at once, to one of which the three others are enough.

    The victim is held when it was charged for the second round, and has sent nothing of it.
    """
    spec = heart_spec.model_copy(update={"name": "hold-train", "rounds": 3, "releases": ()})
    ledger = Ledger.open(consortium.site_folder(VICTIM) / LEDGER)
    before = ledger.account(f"{VICTIM}-cardiology").rdp_spent
    with open_session(consortium.user_kit(LEAD), spec.study) as session:
        jobs = {
            enough: session.submit(
                export_job(
                    spec.model_copy(update={"min_sites": enough}), consortium.declarations, tmp_path / str(enough)
                )
            )
            for enough in (3, 4)
        }
        wait_until(lambda: all((notes / f"{job_id}.held").exists() for job_id in jobs.values()), 120.0)
        federation.kill(VICTIM)
        reports = {
            enough: session.follow(job_id, lambda progress: None, JOB_SECONDS) for enough, job_id in jobs.items()
        }
        assert {enough: report.completed for enough, report in reports.items()} == {3: True, 4: False}
        result = read_result(session.download(jobs[3], tmp_path / "download"))
    assert [len(record.contributors) for record in result.rounds] == [4, 3, 3]
    assert VICTIM not in result.rounds[1].contributors
    account = ledger.account(f"{VICTIM}-cardiology")
    assert account.rdp_spent == before + 2 * job_events(spec).charge(account.filter.order)
    ledger.verify()
    for job_id in jobs.values():
        assert ledger.committed(job_id, "train-0002")
        assert not ledger.committed(job_id, "train-0003")
        assert (consortium.site_folder(VICTIM) / "kit" / job_id).is_dir()
    federation.start_one(VICTIM)
    federation.wait_for_sites((VICTIM,))
    for job_id in jobs.values():
        folder = consortium.site_folder(VICTIM) / "kit" / job_id
        wait_until(lambda folder=folder: not folder.exists(), 180.0)
        assert (consortium.site_folder(VICTIM) / JOB_LOGS / f"{job_id}.txt").stat().st_size > 0


def test_a_server_that_stalls_is_waited_for(consortium: ProvisionedConsortium, federation: Federation) -> None:
    server = psutil.Process(federation._processes["server"].pid)
    with open_session(consortium.user_kit(LEAD)) as session:
        server.suspend()
        threading.Timer(STALL_SECONDS, server.resume).start()
        begin = time.monotonic()
        assert session.sites() == sorted(consortium.declarations.consortium.sites)
        assert time.monotonic() - begin > 5.0, "the server did stall"
