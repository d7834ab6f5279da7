"""FLARE's controller of every Almoner job: lets a driver of its kind drive, and carries tasks and answers."""

import logging
from pathlib import Path
from typing import Any

from nvflare.apis.controller_spec import Task
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.apis.workspace import Workspace
from nvflare.widgets.info_collector import GroupInfoCollector, InfoCollector

from almoner.errors import AlmonerError, FederationError
from almoner.flare.components.job_kinds import job_run
from almoner.flare.evidence.held_heads import HEADS_FILE, ServerHeads
from almoner.flare.evidence.live_log import LiveLog
from almoner.flare.job.answers import Answers, IsGood
from almoner.flare.job.job_context import read_envelope
from almoner.flare.job.wire import PAYLOAD_KEY, Reply, TaskHeader, encode_task
from almoner.flare.results.job_result import write_result
from almoner.provision import names
from almoner.schema.consortium import Roster
from almoner.schema.documents import load_document
from almoner.schema.envelope import JobEnvelope

logger = logging.getLogger(__name__)

STATS_GROUP = "almoner"


class AlmonerController(Controller):  # type: ignore[misc]
    """The only workflow that the server's class allow-list admits. It takes no arguments.

    The server learns which sites answered and when, the noised releases at the end, and the model if all
    contributing sites consent to its release.
    """

    def __init__(self) -> None:
        super().__init__()
        self._progress: dict[str, Any] = {}
        self._answers: Answers | None = None
        self._dead: set[str] = set()

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Read the job's envelope; nothing else is configured."""
        workspace: Workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
        job_id = str(fl_ctx.get_job_id())
        self._envelope: JobEnvelope = read_envelope(Path(workspace.get_app_config_dir(job_id)))
        self._run_folder = Path(workspace.get_run_dir(job_id))
        kit = Path(workspace.get_root_dir()).resolve()
        roster = load_document(kit / "local" / names.ROSTER_FILE, Roster)
        self._heads = ServerHeads(kit.parent / HEADS_FILE, roster, LiveLog(kit.parent, job_id))

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing is held open."""

    def process_result_of_unknown_task(
        self, client: Any, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """Drop a late answer."""
        logger.info("late answer of %s to %s dropped", client.name, task_name)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Tell `show_stats` how far the job is (round numbers and site names), and learn of dead sites."""
        if event_type == InfoCollector.EVENT_TYPE_GET_STATS:
            collector = fl_ctx.get_prop(InfoCollector.CTX_KEY_STATS_COLLECTOR)
            if isinstance(collector, GroupInfoCollector):
                collector.set_info(group_name=STATS_GROUP, info=dict(self._progress))
        elif event_type == EventType.CLIENT_DISCONNECTED:
            site = str(fl_ctx.get_prop(FLContextKey.DISCONNECTED_CLIENT_NAME))
            self._dead.add(site)
            if self._answers is not None:
                self._answers.give_up(site)

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Run the job; a job that cannot go on ends with one line that says why."""

        def ask(
            header: TaskHeader, body: bytes, sites: tuple[str, ...], min_sites: int, enough: int, is_good: IsGood
        ) -> dict[str, Reply]:
            return self._ask(header, body, sites, min_sites, enough, is_good, abort_signal, fl_ctx)

        try:
            envelope, job_id = self._envelope, str(fl_ctx.get_job_id())
            job = job_run(envelope, job_id, ask, self._keep_progress, self._heads)
            running = tuple(client.name for client in fl_ctx.get_engine().get_clients())
            result = job.run(running)
            write_result(self._run_folder, result)
            job.cosign_log(result)
        except AlmonerError as error:
            self.system_panic(str(error), fl_ctx)

    def _keep_progress(self, progress: dict[str, Any]) -> None:
        """Remember the progress for `show_stats`."""
        self._progress = progress

    def _ask(
        self,
        header: TaskHeader,
        body: bytes,
        sites: tuple[str, ...],
        min_sites: int,
        enough: int,
        is_good: IsGood,
        abort_signal: Signal,
        fl_ctx: FLContext,
    ) -> dict[str, Reply]:
        """Broadcast one task to the sites that live, and wait for their answers.

        Raises:
            FederationError: the job was aborted.
        """
        alive = tuple(site for site in sites if site not in self._dead)
        if len(alive) < min_sites:
            return {}
        answers = self._answers = Answers(alive, min_sites, is_good, enough)
        data = Shareable()
        data[PAYLOAD_KEY] = encode_task(header, body)
        task = Task(name=header.kind, data=data, result_received_cb=answers.receive)
        self.broadcast(task=task, fl_ctx=fl_ctx, targets=list(alive), min_responses=len(alive))
        replies = answers.wait(abort_signal)
        if len(replies) < len(alive):
            self.cancel_task(task)
        if abort_signal.triggered:
            raise FederationError("the job was aborted")
        return replies
