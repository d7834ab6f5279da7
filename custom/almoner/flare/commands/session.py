"""A user's session with the server: submit, follow, list, fetch. Wraps FLARE's session API.

Every error of FLARE becomes one clear line; nothing is retried silently.
"""

import contextlib
import io
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvflare.apis.fl_exception import FLCommunicationError
from nvflare.apis.workspace import Workspace
from nvflare.fuel.flare_api import api_spec
from nvflare.fuel.flare_api.flare_api import Session
from nvflare.fuel.hci.client.api_spec import AdminConfigKey
from nvflare.fuel.hci.client.config import secure_load_admin_config

from almoner.errors import FederationError
from almoner.flare.components.controller import STATS_GROUP
from almoner.flare.results.origin import exported_job, make_room, remember

POLL_SECONDS = 0.5
ANSWER_SECONDS = 30.0
"""How long the server may take to answer one message; FLARE's default of 5 s ends a session at a busy server."""

PROGRESS_SECONDS = 5.0
"""How long a job's process may take to say how far it is; it is asked again, and says nothing more once it ends."""

DEPLOYMENT_ANSWERS_SECONDS = 30.0
"""How long after a job's end the server may take to write what the participants answered, where it says nothing yet."""

ABORT_SECONDS = 60.0
"""How long an aborted job may take to end: FLARE gives its process ten seconds, and then packs its folder."""

logging.getLogger("nvflare").addHandler(logging.NullHandler())
logging.getLogger("nvflare").propagate = False
"""FLARE logs every failed try and late reply; users read the one line that an error becomes here. Without a handler of
its own such a line would go to the terminal, and so it would through the root's, which importing Opacus adds."""

_FLARE_ERRORS = (
    api_spec.NoConnection,
    api_spec.SessionClosed,
    api_spec.InvalidArgumentError,
    api_spec.InvalidJobDefinition,
    api_spec.JobNotFound,
    api_spec.JobNotRunning,
    api_spec.JobNotDone,
    api_spec.InternalError,
    api_spec.JobTimeout,
    api_spec.AuthenticationError,
    api_spec.AuthorizationError,
    api_spec.NoClientsAvailable,
    api_spec.InvalidTarget,
    api_spec.NoReply,
    api_spec.CommandError,
    FLCommunicationError,
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
)

_REMEDIES = {
    api_spec.NoConnection: " → see that the server runs, and at the address in your kit",
    api_spec.JobNotFound: " → give --study, and an id that `almoner job list` shows for it",
}


@dataclass(frozen=True)
class JobReport:
    """How a job ended, as its submitter sees it.

    Args:
        answers: what each participant said at deployment, in FLARE's order, prefixes removed.
    """

    job_id: str
    name: str
    status: str
    answers: dict[str, str]

    @property
    def completed(self) -> bool:
        """Whether the job ran to its end."""
        return self.status == "FINISHED:COMPLETED"


class UserSession:
    """One logged-in user. Use `open_session`."""

    def __init__(self, session: Session, kit: Path) -> None:
        self._session, self._kit = session, kit

    def submit(self, folder: Path) -> str:
        """Submit an exported job folder; return FLARE's job id. The kit keeps which job that was."""
        job = exported_job(folder)
        make_room(self._kit)
        with _one_line_errors("submit_job"):
            job_id = str(self._session.submit_job(str(folder.resolve())))
        remember(self._kit, job_id, job)
        return job_id

    def sites(self) -> list[str]:
        """Return the sites that are connected now."""
        with _one_line_errors("check_status server"):
            return sorted(client.name for client in self._session.get_connected_client_list())

    def jobs(self) -> list[JobReport]:
        """Return the jobs of the session's study that this user may see."""
        with _one_line_errors("list_jobs"):
            return [_report(str(meta.get("job_id")), meta) for meta in self._session.list_jobs()]

    def report(self, job_id: str) -> JobReport:
        """Return how a job stands."""
        with _one_line_errors(f"job {job_id}"):
            return _report(job_id, self._session.get_job_meta(job_id))

    def progress(self, job_id: str) -> dict[str, Any]:
        """Return phase, round and sites of a running job, or {} while there is nothing to say."""
        self._session.set_timeout(PROGRESS_SECONDS)
        try:
            stats = self._session.show_stats(job_id, "server")
        except _FLARE_ERRORS:
            return {}
        finally:
            self._session.set_timeout(ANSWER_SECONDS)
        server = stats.get("server", {}) if isinstance(stats, dict) else {}
        found = server.get(STATS_GROUP, {}) if isinstance(server, dict) else {}
        return dict(found) if isinstance(found, dict) else {}

    def follow(self, job_id: str, tell: Callable[[dict[str, Any]], None], timeout_seconds: float) -> JobReport:
        """Wait for a job's end, telling each change of its progress.

        Raises:
            FederationError: the job did not end in time.
        """
        deadline = time.monotonic() + timeout_seconds
        last: dict[str, Any] = {}
        while True:
            report = self.report(job_id)
            if report.status.startswith("FINISHED") or "FAILED" in report.status:
                return report if report.answers else self._with_answers(job_id)
            now = self.progress(job_id) if report.status == "RUNNING" else {"phase": report.status.lower()}
            if now and now != last:
                tell(now)
                last = now
            if time.monotonic() > deadline:
                raise FederationError(f"job {job_id}: still {report.status} after {timeout_seconds:.0f} s")
            time.sleep(POLL_SECONDS)

    def _with_answers(self, job_id: str) -> JobReport:
        """Return a job's last report: FLARE writes that it ended before it writes what the participants answered."""
        deadline = time.monotonic() + DEPLOYMENT_ANSWERS_SECONDS
        while not (report := self.report(job_id)).answers and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return report

    def download(self, job_id: str, out: Path) -> Path:
        """Fetch a finished job's files; return the folder they are in."""
        out.mkdir(parents=True, exist_ok=True)
        with _one_line_errors(f"download_job {job_id}"):
            return Path(self._session.download_job_result(job_id, str(out.resolve())))

    def abort(self, job_id: str) -> JobReport:
        """Abort a job, and wait for its end.

        *Guarantee*: on return the server has no process for the job, and its status is final: FINISHED:ABORTED, if
        it did not end by itself before.

        Raises:
            FederationError: the server refuses, or the job has not ended in time.
        """
        deadline = time.monotonic() + ABORT_SECONDS
        asked = False
        while True:
            asked = asked or self._ask_to_abort(job_id)
            report = self.report(job_id)
            if asked and report.status.startswith("FINISHED") and not self._is_running(job_id):
                return report
            if time.monotonic() > deadline:
                raise FederationError(f"job {job_id}: not aborted, still {report.status} → try again")
            time.sleep(POLL_SECONDS)

    def _ask_to_abort(self, job_id: str) -> bool:
        """Tell whether the server took the command; it cannot while it is just starting the job."""
        with _one_line_errors(f"abort_job {job_id}"):
            try:
                self._session.abort_job(job_id)
            except api_spec.InternalError:
                return False
            return True

    def _is_running(self, job_id: str) -> bool:
        """Tell whether the server has a process for a job."""
        with _one_line_errors("check_status server"):
            return job_id in {job.job_id for job in self._session.get_system_info().job_info}

    def shutdown(self) -> None:
        """Shut down all sites and the server, in this order."""
        with _one_line_errors("shutdown all"):
            self._session.api.do_command("shutdown client")
            self._session.api.do_command("shutdown server")


def _report(job_id: str, meta: dict[str, Any]) -> JobReport:
    """Turn FLARE's job meta data into a report."""
    answers = {}
    for line in meta.get("job_deploy_detail") or []:
        site, colon, text = str(line).partition(": ")
        if colon:
            answers[_for_terminal(site)] = _for_terminal(text.removeprefix("NVFLARE_ERROR: "))
    name = _for_terminal(str(meta.get("name") or meta.get("job_name") or ""))
    return JobReport(job_id=job_id, name=name, status=_for_terminal(str(meta.get("status"))), answers=answers)


def _for_terminal(text: str) -> str:
    """Return what others wrote without what a terminal would act on."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


@contextlib.contextmanager
def _one_line_errors(what: str) -> Iterator[None]:
    """Turn FLARE's errors into one line."""
    try:
        yield
    except _FLARE_ERRORS as error:
        text = " ".join(str(error).split()) or type(error).__name__
        remedy = next((found for kind, found in _REMEDIES.items() if isinstance(error, kind)), "")
        raise FederationError(f"{what}: {text}{remedy}") from None


@contextlib.contextmanager
def open_session(kit: Path, study: str = "default", timeout_seconds: float = 20.0) -> Iterator[UserSession]:
    """Log in with a user's startup kit.

    FLARE searches the working directory for configuration and imports what it names, so the log-in, at which
    it does so, runs in an empty one.

    Raises:
        FederationError: no kit, no server, or the user is not known there.
    """
    kit = kit.resolve()
    if not (kit / "startup" / "fed_admin.json").is_file():
        raise FederationError(
            f"{kit}: not a user's startup kit → give the folder that has startup/fed_admin.json in it"
        )
    with _one_line_errors(f"log in with {kit.name}"):
        session = _log_in(kit, study, timeout_seconds)
    try:
        yield UserSession(session, kit)
    finally:
        with contextlib.suppress(*_FLARE_ERRORS):
            session.close()


def _log_in(kit: Path, study: str, timeout_seconds: float) -> Session:
    """Connect and log in, from an empty working directory and without FLARE's chatter."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="almoner-cwd-") as empty, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(empty)
        try:
            admin = secure_load_admin_config(Workspace(root_dir=str(kit))).get_admin_config()
            session = Session(admin[AdminConfigKey.USERNAME], str(kit), secure_mode=True, study=study)
            try:
                _connect(session, timeout_seconds)
            except _FLARE_ERRORS:
                with contextlib.suppress(*_FLARE_ERRORS):
                    session.close()
                raise
            return session
        finally:
            os.chdir(before)


def _connect(session: Session, timeout_seconds: float) -> None:
    """Connect and log in; from then on too, each message has its time to be answered."""
    api = session.api
    api.authenticate_msg_timeout = api.file_download_progress_timeout = ANSWER_SECONDS
    session.set_timeout(ANSWER_SECONDS)
    session.try_connect(timeout_seconds)
