"""The server's side of a job: asks the sites round by round, and adds what it cannot read.

The server holds no model and no key. It relays each round's total; the sites open it and take the step.
It learns which sites answered and when, the noised releases at the end, and the model if all sites of the
job consent to its release.
"""

import logging
import threading
import time
from pathlib import Path
from typing import Any

from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.apis.workspace import Workspace
from nvflare.widgets.info_collector import GroupInfoCollector, InfoCollector

from almoner.errors import FederationError, ProtocolError
from almoner.flare.job_context import read_envelope, server_scheme
from almoner.flare.job_result import JobResult, RoundRecord, write_result
from almoner.flare.wire import PAYLOAD_KEY, Reply, ReplyKind, TaskHeader, TaskKind, decode_reply, encode_task
from almoner.schema.job import JobEnvelope
from almoner.workloads.registry import workload

logger = logging.getLogger(__name__)

ROUND_TIMEOUT_SECONDS = 600.0
STRAGGLER_SECONDS = 15.0
"""How long a round waits for the rest, at the least, once `min_sites` have answered."""

STRAGGLER_FACTOR = 5.0
"""The wait for the rest, as a multiple of the time in which `min_sites` answered."""

STATS_GROUP = "almoner"


class Answers:
    """Collects the sites' replies to one task, and wakes whoever waits for them."""

    def __init__(self, expected: tuple[str, ...], min_sites: int) -> None:
        self._expected, self._min_sites = expected, min_sites
        self._replies: dict[str, Reply] = {}
        self._changed = threading.Condition()

    def receive(self, client_task: ClientTask, fl_ctx: FLContext) -> None:
        """Take one site's result; what is no well-formed reply counts as a refusal. FLARE's callback."""
        result = client_task.result
        try:
            reply = decode_reply(result.get(PAYLOAD_KEY) if isinstance(result, Shareable) else None)
        except ProtocolError:
            reply = Reply(kind=ReplyKind.REFUSAL, round=0, body=b"")
        client_task.result = None
        with self._changed:
            self._replies.setdefault(client_task.client.name, reply)
            self._changed.notify_all()

    def wait(self, abort_signal: Signal) -> dict[str, Reply]:
        """Wait until all have answered, or enough have and the rest is late; return the replies by site."""
        start = time.monotonic()
        enough_at: float | None = None
        with self._changed:
            while len(self._replies) < len(self._expected) and not abort_signal.triggered:
                elapsed = time.monotonic() - start
                if enough_at is None and len(self._replies) >= self._min_sites:
                    enough_at = elapsed
                if enough_at is not None and elapsed > enough_at + max(STRAGGLER_SECONDS, STRAGGLER_FACTOR * enough_at):
                    break
                if elapsed > ROUND_TIMEOUT_SECONDS:
                    break
                self._changed.wait(0.5)
            return dict(self._replies)


class AlmonerController(Controller):  # type: ignore[misc]
    """The only workflow that the server's class allow-list admits. It takes no arguments."""

    def __init__(self) -> None:
        super().__init__()
        self._progress: dict[str, Any] = {}

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Read the job's envelope; nothing else is configured."""
        workspace: Workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
        job_id = str(fl_ctx.get_job_id())
        self._envelope: JobEnvelope = read_envelope(Path(workspace.get_app_config_dir(job_id)))
        self._run_folder = Path(workspace.get_run_dir(job_id))
        self._dimension = workload(self._envelope.spec.workload).dimension
        self._scheme = server_scheme(self._envelope, self._dimension)

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing is held open."""

    def process_result_of_unknown_task(
        self, client: Any, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """Drop a late answer."""
        logger.info("late answer of %s to %s dropped", client.name, task_name)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Tell FLARE's `show_stats` how far the job is: round numbers and site names, nothing else."""
        if event_type == InfoCollector.EVENT_TYPE_GET_STATS:
            collector = fl_ctx.get_prop(InfoCollector.CTX_KEY_STATS_COLLECTOR)
            if isinstance(collector, GroupInfoCollector):
                collector.set_info(group_name=STATS_GROUP, info=dict(self._progress))

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Run the job: set-up, rounds, release, model."""
        try:
            self._run(abort_signal, fl_ctx)
        except (FederationError, ProtocolError) as error:
            self.system_panic(str(error), fl_ctx)

    def _run(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Carry out the phases; each raises if fewer than `min_sites` take part."""
        spec, result = self._envelope.spec, JobResult(job=self._envelope.spec.name)
        consents = self._set_up(abort_signal, fl_ctx)
        sites = tuple(consents)
        contributors: tuple[str, ...] = ()
        total = b""
        for number in range(1, spec.rounds + 1):
            self._report("train", number, sites, done=number - 1)
            replies = self._ask("train", number, contributors, total, {}, sites, ReplyKind.UPDATE, abort_signal, fl_ctx)
            contributors = tuple(replies)
            total = self._scheme.combine([reply.body for reply in replies.values()])
            result.rounds.append(RoundRecord(round=number, contributors=contributors))
            sites = contributors
            self._report("train", number, sites, done=number)
        after = spec.rounds + 1
        if spec.releases:
            self._report("release", after, sites, done=spec.rounds)
            replies = self._ask("release", after, contributors, total, {}, sites, ReplyKind.RELEASE, abort_signal, fl_ctx)
            result.releases = {site: reply.body.hex() for site, reply in replies.items()}
            contributors, total = (), b""
        self._report("model", after, sites, done=spec.rounds)
        result.model = self._fetch_model(after, contributors, total, consents, result, abort_signal, fl_ctx)
        write_result(self._run_folder, result)
        self._report("finished", after, sites, done=spec.rounds)

    def _set_up(self, abort_signal: Signal, fl_ctx: FLContext) -> dict[str, bytes]:
        """Collect the sites' signed consents, in roster order; who answers takes part."""
        self._report("setup", 0, self._envelope.sites)
        running = {client.name for client in fl_ctx.get_engine().get_clients()}
        sites = tuple(site for site in self._envelope.sites if site in running)
        replies = self._ask("setup", 0, (), b"", {}, sites, ReplyKind.SETUP, abort_signal, fl_ctx)
        return {site: reply.body for site, reply in replies.items()}

    def _fetch_model(
        self, number: int, contributors: tuple[str, ...], total: bytes, consents: dict[str, bytes],
        result: JobResult, abort_signal: Signal, fl_ctx: FLContext,
    ) -> list[float] | None:
        """Ask the first site of the roster for the model, if every site that contributed consents."""
        givers = list(dict.fromkeys(site for site in self._envelope.sites if result.has(site) or not result.rounds))
        givers = [site for site in givers if site in consents]
        if not givers or any(consents[site][:1] != b"\x01" for site in givers):
            return None
        signed = {site: consents[site].hex() for site in givers}
        replies = self._ask(
            "model", number, contributors, total, signed, givers[:1], ReplyKind.MODEL, abort_signal, fl_ctx, min_sites=1
        )
        return JobResult.weights_of(next(iter(replies.values())).body, self._dimension)

    def _ask(
        self, kind: TaskKind, number: int, contributors: tuple[str, ...], total: bytes, consents: dict[str, str],
        sites: tuple[str, ...] | list[str], wanted: ReplyKind, abort_signal: Signal, fl_ctx: FLContext,
        min_sites: int | None = None,
    ) -> dict[str, Reply]:
        """Broadcast one task and return the wanted replies in roster order.

        Raises:
            FederationError: fewer than `min_sites` gave the wanted reply, or the job was aborted.
        """
        need = self._envelope.spec.min_sites if min_sites is None else min_sites
        header = TaskHeader(kind=kind, round=number, contributors=contributors, consents=consents)
        data = Shareable()
        data[PAYLOAD_KEY] = encode_task(header, total)
        answers = Answers(tuple(sites), need)
        task = Task(name=kind, data=data, result_received_cb=answers.receive)
        if len(sites) >= need:
            self.broadcast(task=task, fl_ctx=fl_ctx, targets=list(sites), min_responses=len(sites))
        replies = answers.wait(abort_signal) if len(sites) >= need else {}
        if len(sites) >= need and len(replies) < len(sites):
            self.cancel_task(task)
        if abort_signal.triggered:
            raise FederationError("the job was aborted")
        good = {
            site: replies[site]
            for site in self._envelope.sites
            if site in replies and replies[site].kind is wanted and self._fits(replies[site], number)
        }
        if len(good) < need:
            what = f"round {number}" if kind == "train" else kind
            raise FederationError(f"{what}: {len(good)} of at least {need} sites answered; the job ends here")
        return good

    def _fits(self, reply: Reply, number: int) -> bool:
        """Tell whether a reply is of this round and, for an update, of the scheme's length."""
        if reply.kind is ReplyKind.UPDATE and len(reply.body) != self._scheme.message_bytes:
            return False
        return reply.round == number

    def _report(self, phase: str, number: int, sites: tuple[str, ...], done: int = 0) -> None:
        """Remember the progress for `show_stats`."""
        rounds = self._envelope.spec.rounds
        self._progress = {"phase": phase, "round": number, "rounds": rounds, "done": done, "sites": list(sites)}
        logger.info("%s %d of %d: %s", phase, number, rounds, ", ".join(sites))
