"""A site's death does not undo a job that the server has finished; FLARE's own way does."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.private.fed.server.fed_server import FederatedServer
from nvflare.private.fed.server.job_runner import JobRunner

from almoner.flare.processes import dead_sites

JOB, SITE = "a-job", "hungary"
ENDED_WELL: dict[str, Any] = {}


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> SimpleNamespace:
    """A server whose process of the job has ended well, and which waits for two sites' last words."""
    runner = JobRunner(str(tmp_path))
    runner._pending_client_outcomes[JOB] = {SITE, "cleveland"}
    failed: list[str] = []
    monkeypatch.setattr(runner, "fail_run", lambda job_id, code, fl_ctx: failed.append(job_id))
    engine = SimpleNamespace(
        job_runner=runner, run_processes={}, exception_run_processes=ENDED_WELL, new_context=lambda: memoryview(b"")
    )
    monkeypatch.setattr(FederatedServer, "_resolve_missing_client_outcome", dead_sites._wait_no_longer)
    return SimpleNamespace(engine=engine, logger=logging.getLogger("test"), failed=failed)


STOCK = FederatedServer._resolve_missing_client_outcome
DEAD = SimpleNamespace(name=SITE)


def test_flare_fails_a_finished_job(finished: SimpleNamespace) -> None:
    STOCK(finished, DEAD, JOB, "client dead")
    assert finished.failed == [JOB]


def test_here_it_stays_finished_and_the_others_are_waited_for(finished: SimpleNamespace) -> None:
    FederatedServer._resolve_missing_client_outcome(finished, DEAD, JOB, "client dead")
    assert finished.failed == []
    assert finished.engine.job_runner._pending_client_outcomes[JOB] == {"cleveland"}


def test_start_installs_it() -> None:
    try:
        dead_sites.install()
        assert FederatedServer._resolve_missing_client_outcome is dead_sites._wait_no_longer
    finally:
        FederatedServer._resolve_missing_client_outcome = STOCK
