"""A logged-in lead sends messages straight to a site's job process, while a job runs there and after it.

The first group succeeds with the gate taken out and gets nothing with it. The second does not rest on the
gate: what would start a finished job again or admit an upload twice is refused by ledger and deployer alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from nvflare.apis.shareable import Shareable
from tests.integration.attacker import SITE, UNGATED, Attacker, attacking, aux_request
from tests.integration.conftest import make_consortium
from tests.integration.test_site_killed import wait_until

from almoner.encryption.bfv import BfvScheme
from almoner.flare.exporting import export_job
from almoner.flare.federation import Federation
from almoner.flare.site_files import LEDGER
from almoner.flare.wire import PAYLOAD_KEY, ReplyKind, TaskHeader, decode_reply, encode_task
from almoner.privacy.ledger import Ledger
from almoner.schema.job import JobSpec
from almoner.workloads.registry import workload

ROUNDS = 10
AUX = "aux_communication"


@dataclass(frozen=True)
class RunningJob:
    """A job of many steps that runs at four sites."""

    attacker: Attacker
    job_id: str
    folder: Path
    ledger: Ledger
    dimension: int

    @property
    def target(self) -> str:
        """The name of the job process's cell at the site."""
        return f"{SITE}.{self.job_id}"

    def rounds_committed(self) -> int:
        return sum(self.ledger.committed(self.job_id, f"train-{number:04d}") for number in range(1, ROUNDS + 1))

    def aux(self, topic: str, request: Shareable, stream: bool = False, seconds: float = 4.0) -> Any:
        return self.attacker.raw(AUX, topic, request, self.target, stream, seconds)


@pytest.fixture(scope="module", params=["gated", "ungated"])
def job(
    request: pytest.FixtureRequest, root: Path, heart_spec: JobSpec, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningJob]:
    gated = request.param == "gated"
    consortium = make_consortium(root, tmp_path_factory.mktemp(request.param) / "heart")
    training = heart_spec.training.model_copy(update={"local_steps": 60})
    spec = heart_spec.model_copy(update={"rounds": ROUNDS, "training": training, "releases": ()})
    with Federation(consortium, {} if gated else UNGATED) as federation:
        federation.start(lambda text: None)
        with attacking(federation, gated, spec.study) as lead:
            ledger = Ledger.open(consortium.site_folder(SITE) / LEDGER)
            folder = export_job(spec, consortium.declarations, tmp_path_factory.mktemp("jobs"))
            job_id = lead.session.submit(folder)
            running = RunningJob(lead, job_id, folder, ledger, workload(spec.workload).dimension)
            wait_until(lambda: running.rounds_committed() >= 2, 120.0)
            yield running


def job_processes(job: RunningJob) -> list[str]:
    """Return the log lines of job processes that run at the site now."""
    parent = psutil.Process(job.attacker.federation._processes[SITE].pid)
    return [" ".join(child.cmdline()) for child in parent.children(recursive=True)]


@pytest.mark.threat("T-14")
@pytest.mark.parametrize("stream", [False, True], ids=["message", "stream"])
def test_task_sent_past_the_server(job: RunningJob, stream: bool) -> None:
    """The site answers a lead who asks for a round with its own update, which only the server is to add up."""
    update = None
    for _ in range(1 if job.attacker.gated else 4):
        number = job.rounds_committed()
        task = encode_task(TaskHeader(kind="train", round=number, contributors=(), consents={}), b"")
        request = aux_request(job.job_id, __task_name__="train", __task_id__="1")
        request[PAYLOAD_KEY] = task
        answer = job.aux("__do_task__", request, stream, 4.0 if job.attacker.gated else 30.0)
        if isinstance(answer, Shareable) and PAYLOAD_KEY in answer:
            update = decode_reply(answer[PAYLOAD_KEY])
            if update.kind is ReplyKind.UPDATE:
                break
    if job.attacker.gated:
        assert answer is None
    else:
        assert update is not None
        assert update.kind is ReplyKind.UPDATE
        assert len(update.body) == BfvScheme.for_server(job.dimension).message_bytes


def test_show() -> None:
    pass
