"""A logged-in lead sends messages straight to a site's job process while a job runs there, and commands about it.

The first group succeeds with the gate taken out and gets nothing with it. The second does not rest on the
gate, since its commands are on the list: what would start a job twice or admit an upload twice is refused by
the ledger and the deployer alone, with and without the gate.
"""

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import psutil
import pytest
from nvflare.apis.shareable import Shareable
from nvflare.apis.workspace import Workspace
from tests.integration.attacker import (
    ANSWER_SECONDS,
    SITE,
    SITES_GATED,
    TRIES,
    UNGATED,
    Attacker,
    attacking,
    aux_request,
    came_true,
    honest_app,
    succeeds,
)
from tests.integration.conftest import make_consortium
from tests.integration.test_site_killed import wait_until

from almoner.encryption.bfv_messages import MessageForm
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation
from almoner.flare.door.render import new_envelope
from almoner.flare.job.wire import PAYLOAD_KEY, ReplyKind, TaskHeader, decode_reply, encode_task
from almoner.flare.site.job_folder import JOB_LOGS, write_job
from almoner.flare.site.site_files import LEDGER
from almoner.flare.site.tree import read_tree
from almoner.privacy.heads import HEAD_BYTES
from almoner.privacy.ledger import Ledger
from almoner.schema.documents import load_document
from almoner.schema.envelope import JobEnvelope
from almoner.schema.job import JobSpec
from almoner.workloads.registry import workload

ROUNDS, STEPS = 50, 500
"""So many rounds and local steps that the job runs for as long as its tests take, on a quick machine too."""

GATED_SECONDS = 2.0
"""How long a gated job process is given to answer."""

ROUND_SECONDS = 60.0
"""How long a round may take on a busy machine."""


@dataclass(frozen=True)
class RunningJob:
    """A job of many steps that runs at four sites, and the lead who submitted it."""

    lead: Attacker
    job_id: str
    spec: JobSpec
    ledger: Ledger

    @property
    def folder(self) -> Path:
        """The job's folder at the site."""
        return self.lead.kit / self.job_id

    @property
    def target(self) -> str:
        """The name of the job process's cell at the site."""
        return f"{SITE}.{self.job_id}"

    def rounds_committed(self) -> int:
        """Return how many rounds the site has charged; they come in order."""
        done = (self.ledger.committed(self.job_id, f"train-{number:04d}") for number in range(1, ROUNDS + 1))
        return sum(takewhile(bool, done))

    def wait_for_next_round(self) -> None:
        now = self.rounds_committed()
        wait_until(lambda: self.rounds_committed() > now, ROUND_SECONDS)

    def aux(self, topic: str, request: Shareable, stream: bool = False) -> Any:
        """Send an auxiliary message to the job process; return the answer.

        With the gate in it is sent `TRIES` times at once, for the job does not wait; without, tests try again.
        """

        def send(number: int) -> Any:
            seconds = GATED_SECONDS if self.lead.gated else ANSWER_SECONDS
            return self.lead.raw("aux_communication", topic, request, self.target, stream, seconds)

        with ThreadPoolExecutor(TRIES) as pool:
            answers = list(pool.map(send, range(TRIES if self.lead.gated else 1)))
        return next((answer for answer in answers if answer is not None), None)

    def succeeds(self, attack: Callable[[], bool]) -> bool:
        """Carry out an attack that rests on `aux` until it succeeds; once if that sends it `TRIES` times."""
        return any(attack() for _ in range(1 if self.lead.gated else TRIES))

    def processes(self) -> int:
        """Return how many job processes the site has now; its fork server and its resource tracker are none."""
        parent = psutil.Process(self.lead.federation._processes[SITE].pid)
        return len(parent.children(recursive=True)) - 2


def with_size(spec: JobSpec, rounds: int, local_steps: int, target_epsilon: float) -> JobSpec:
    training = spec.training.model_copy(update={"local_steps": local_steps})
    privacy = spec.privacy.model_copy(update={"target_epsilon": target_epsilon})
    return spec.model_copy(update={"rounds": rounds, "training": training, "privacy": privacy, "releases": ()})


def one_step(spec: JobSpec) -> JobSpec:
    return with_size(spec, rounds=1, local_steps=1, target_epsilon=0.2)


@pytest.fixture(scope="module", params=["gated", "ungated"])
def job(
    request: pytest.FixtureRequest, root: Path, heart_spec: JobSpec, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningJob]:
    gated = request.param == "gated"
    consortium = make_consortium(root, tmp_path_factory.mktemp(request.param) / "heart")
    spec = with_size(heart_spec, rounds=ROUNDS, local_steps=STEPS, target_epsilon=1.4)
    with Federation(consortium, SITES_GATED if gated else UNGATED) as federation:
        federation.start(lambda text: None)
        with attacking(federation, gated, spec.study) as lead:
            ledger = Ledger.open(consortium.site_folder(SITE) / LEDGER)
            job_id = lead.session.submit(export_job(spec, consortium.declarations, tmp_path_factory.mktemp("jobs")))
            running = RunningJob(lead, job_id, spec, ledger)
            wait_until(lambda: running.rounds_committed() >= 2, 120.0)
            yield running


@pytest.mark.threat("T-14")
@pytest.mark.parametrize("stream", [False, True], ids=["message", "stream"])
def test_task_sent_past_the_server(job: RunningJob, stream: bool) -> None:
    """The site answers a lead who asks for a round with its own update, which only the server is to add up."""
    answers = []

    def attack() -> bool:
        if not job.lead.gated:
            job.wait_for_next_round()  # so that all of the round is left for the question to arrive in
        header = TaskHeader(kind="train", round=job.rounds_committed(), contributors=(), ring=(), consents={})
        request = aux_request(job.job_id, __task_name__="train", __task_id__="1")
        request[PAYLOAD_KEY] = encode_task(header, b"")
        answers.append(job.aux("__do_task__", request, stream))
        return answers[-1] is not None and decode_reply(answers[-1][PAYLOAD_KEY]).kind is ReplyKind.UPDATE

    assert job.succeeds(attack) is not job.lead.gated  # the round may be over when a question arrives
    if job.lead.gated:
        assert answers == [None]
    else:
        size = MessageForm(workload(job.spec.workload).dimension, 4).addend_bytes + HEAD_BYTES
        assert len(decode_reply(answers[-1][PAYLOAD_KEY]).body) == size


@pytest.mark.threat("T-14")
def test_reading_what_the_job_process_logged(job: RunningJob) -> None:
    """FLARE collects every logged error for `show_errors`; an unknown auxiliary topic is logged as one."""
    mark = f"no-such-topic-{uuid.uuid4()}"

    def show_errors() -> bool:
        return mark in str(job.lead.raw("client_command", "show_errors", {}, job.target, seconds=job.lead.seconds))

    def attack() -> bool:
        job.aux(mark, aux_request(job.job_id))
        return succeeds(show_errors)

    assert job.succeeds(attack) is not job.lead.gated
    dispatched = f"received unknown aux message topic {mark}" in (job.folder / "log.txt").read_text()
    assert dispatched is not job.lead.gated


@pytest.mark.threat("T-14")
@pytest.mark.parametrize("stream", [False, True], ids=["message", "stream"])
def test_event_that_says_the_run_starts(job: RunningJob, stream: bool) -> None:
    """Without the gate all components of the job process get the event; ours keep no state that it could reset."""
    trace = 'Exception when handling event "_start_run"'  # by FLARE's own, which registers itself a second time
    log = job.folder / "log.txt"
    before = log.read_text().count(trace)

    def attack() -> bool:
        headers = {"_timestamp": time.time(), "_event_type": "_start_run", "_event_id": str(uuid.uuid4())}
        answer = job.aux("fed.event", aux_request(job.job_id, **headers), stream)
        assert answer is None or not job.lead.gated
        return came_true(lambda: log.read_text().count(trace) > before, 0.0 if job.lead.gated else ANSWER_SECONDS)

    assert job.succeeds(attack) is not job.lead.gated
    job.wait_for_next_round()
    assert (log.read_text().count(trace) > before) is not job.lead.gated


@pytest.mark.threat("T-03")
def test_running_job_deployed_again(job: RunningJob, tmp_path: Path) -> None:
    """FLARE's own deployer would delete the folder of the running job first."""
    envelope = load_document(job.folder / f"app_{SITE}" / "config" / "almoner_job.json", JobEnvelope)
    meta = json.loads((job.folder / "meta.json").read_text())
    files, _ = honest_app(envelope, job.job_id)
    before = read_tree(job.folder / f"app_{SITE}")
    assert "envelope.replayed" in job.lead.deploy(job.job_id, job.lead.sign(files, tmp_path), meta)
    assert read_tree(job.folder / f"app_{SITE}") == before
    job.wait_for_next_round()


@pytest.mark.threat("T-03")
def test_aborted_job_started_again(job: RunningJob) -> None:
    assert job.processes() == 1
    envelope = load_document(job.folder / f"app_{SITE}" / "config" / "almoner_job.json", JobEnvelope)
    job.lead.session.abort(job.job_id)
    refuse_second_start(job, job.job_id, envelope)


@pytest.mark.threat("T-03")
def test_finished_job_started_again(job: RunningJob, tmp_path: Path) -> None:
    exported = export_job(one_step(job.spec), job.lead.consortium.declarations, tmp_path)
    job_id = job.lead.session.submit(exported)
    assert job.lead.session.follow(job_id, lambda progress: None, 240.0).completed
    envelope = load_document(exported / "app" / "config" / "almoner_job.json", JobEnvelope)
    refuse_second_start(job, job_id, envelope)
    assert (job.lead.kit.parent / JOB_LOGS / f"{job_id}.txt").stat().st_size > 0


@pytest.mark.threat("T-03")
def test_command_to_start_a_job_is_taken_once(job: RunningJob, tmp_path: Path) -> None:
    """The same messages of the same lead do start a job that was admitted and never started."""
    job_id = str(uuid.uuid4())
    envelope = new_envelope(one_step(job.spec), job.lead.consortium.declarations.consortium.sites)
    files, meta = honest_app(envelope, job_id)
    assert job.lead.deploy(job_id, job.lead.sign(files, tmp_path), meta) == f"deployed app to {SITE}"
    assert job.lead.start_job(job_id, meta) == "Start the client app..."
    wait_until(lambda: job.processes() == 1, 120.0)
    job.lead.ask("train.abort", job_id=job_id)
    refuse_second_start(job, job_id, envelope)


def refuse_second_start(job: RunningJob, job_id: str, envelope: JobEnvelope) -> None:
    """Command a start of a job that has ended: its folder is gone; with the folder put back, the ledger refuses."""
    folder = job.lead.kit / job_id
    wait_until(lambda: job.processes() == 0 and not folder.exists(), 120.0)
    files, meta = honest_app(envelope, job_id)
    assert "Client app does not exist" in job.lead.start_job(job_id, dict(meta))
    write_job(Workspace(str(job.lead.kit), SITE), job_id, meta, "app", files)
    answers: list[str] = []

    def passed_on() -> bool:
        answers.append(job.lead.start_job(job_id, dict(meta)))
        return "already started" not in answers[-1] and "RuntimeError" not in answers[-1]

    wait_until(passed_on, 120.0)
    assert "almoner.errors.LedgerError" in answers[-1]
    assert job.processes() == 0
    job.ledger.verify()
    shutil.rmtree(folder)
