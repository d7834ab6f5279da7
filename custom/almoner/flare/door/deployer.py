"""The site's door: every job passes here, in the parent process, before anything of it is written.

FLARE hands over the job's meta data and the submitted app, and sends the returned text to the submitter.
The door verifies the signature, re-renders the job from its spec, compares every byte, asks all rules, and
reserves the worst case in the ledger. What it then writes for the job process is its *own* rendering; the
upload is discarded.
"""

import logging
import threading
from contextlib import ExitStack
from typing import Any

from nvflare.apis.app_deployer_spec import AppDeployerSpec
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace

from almoner.admission.decide import decide, refuse_unread
from almoner.admission.history import History
from almoner.admission.request import JobRequest
from almoner.errors import AlmonerError, CertificateRefused, DocumentError, PolicyViolation
from almoner.flare.door.admitting import record_decision, reserve_worst_case, submitted_facts
from almoner.flare.door.render import APP, render_app, render_meta
from almoner.flare.door.upload import SignedApp, read_signed_app
from almoner.flare.site.job_folder import is_job_id, remove_job, run_folder, write_job
from almoner.flare.site.late_starts import is_late, withdraw_waiting
from almoner.flare.site.ledger_history import HistoryReader
from almoner.flare.site.policy_record import record_policy
from almoner.flare.site.release_store import find_release, release_key
from almoner.flare.site.site_files import SiteFiles, load_site_files
from almoner.flare.site.site_view import site_view
from almoner.privacy.ledger import Ledger
from almoner.privacy.plan import JobPlan
from almoner.privacy.plans import plan_of
from almoner.provision import names
from almoner.schema.decision import Decision, Violation
from almoner.schema.documents import parse_document
from almoner.schema.envelope import JobEnvelope
from almoner.schema.statistics import StatisticsSpec

logger = logging.getLogger(__name__)

CANNOT_DECIDE = "refused: this site cannot decide about jobs now; its operator finds the reason in the site's log"
_JOB_FILE = f"config/{names.JOB_FILE}"

_FORBIDDEN_META = ("launcher_spec", "byoc", "flower_predeployed", "custom_props", "job_launcher_spec")


class PolicyAppDeployer(FLComponent, AppDeployerSpec):  # type: ignore[misc]
    """FLARE's `app_deployer` of a site.

    *Guarantee*: a job's folder exists at the site only if the ledger holds a reservation for the job's
    worst case, made by this class for exactly the bytes in the folder. Decisions are made one at a time, so
    that two jobs cannot share what a quota has left for one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._reader = HistoryReader()

    def deploy(
        self,
        workspace: Workspace,
        job_id: str,
        job_meta: dict[str, Any],
        app_name: str,
        app_data: bytes,
        fl_ctx: FLContext,
    ) -> str:
        """Admit or refuse a job.

        Returns:
            "" if admitted; otherwise the refusal that the submitter reads.
        """
        try:
            site = load_site_files(workspace)
            with self._lock, site.ledger() as ledger:
                decision = self._admit(site, ledger, workspace, job_id, job_meta, app_name, app_data)
        except AlmonerError as error:
            logger.error("job %s refused: %s", _path_for_print(job_id), error)
            return CANNOT_DECIDE
        except Exception:  # a door that fails stays shut, and does not say on what it failed
            logger.exception("job %s refused", _path_for_print(job_id))
            return CANNOT_DECIDE
        logger.info("%s", decision.render())
        return "" if decision.verdict == "admitted" else decision.render()

    def _admit(
        self,
        site: SiteFiles,
        ledger: Ledger,
        workspace: Workspace,
        job_id: str,
        job_meta: dict[str, Any],
        app_name: str,
        app_data: bytes,
    ) -> Decision:
        """Decide, record the decision, and if it admits: reserve and write the job's folder."""
        name = _printable(str(job_meta.get("name", ""))[:64])
        history = self._look_back(site, ledger, workspace)
        try:
            app = read_signed_app(app_data, site.root_ca, site.policy.revoked)
            envelope = _read_envelope(app)
            plan = plan_of(envelope.spec, len(envelope.sites))
        except (PolicyViolation, DocumentError) as error:
            refusal = refuse_unread(site_view(site, ledger, history, None), name, (_unread(error),))
            return record_decision(site, ledger, job_id, refusal, {"dataset_commitment": ""})
        if _was_answered(site, ledger, envelope):
            plan = JobPlan(0.0, ())
        view = site_view(site, ledger, history, envelope)
        facts = submitted_facts(view, envelope)
        request = JobRequest(envelope, app.signer, _path_for_print(str(job_meta.get("study") or "default")))
        decision = decide(request, view, plan)
        strays = (*_stray_files(app, envelope), *_stray_meta(workspace, job_id, job_meta, app_name, envelope))
        if strays:
            decision = decision.model_copy(update={"verdict": "refused", "violations": (*strays, *decision.violations)})
        if decision.verdict == "admitted":
            decision = reserve_worst_case(ledger, job_id, request, decision, plan, view)
        if decision.verdict != "admitted":
            return record_decision(site, ledger, job_id, decision, facts)
        with ExitStack() as undo:
            undo.callback(ledger.settle, job_id, "its folder could not be written")
            write_job(workspace, job_id, job_meta, app_name, render_app(envelope))
            undo.callback(remove_job, run_folder(workspace, job_id), site.folder)
            recorded = record_decision(site, ledger, job_id, decision, facts)
            undo.pop_all()
        return recorded

    def _look_back(self, site: SiteFiles, ledger: Ledger, workspace: Workspace) -> History:
        """Return the history of jobs, after the book was brought up to date with policy and clock."""
        history = self._reader.read(ledger)
        record_policy(site, ledger, history)
        for job in history.jobs:
            waits = not job.started and job.ended_unix_seconds is None
            if waits and is_late(job.reserved_unix_seconds):
                withdraw_waiting(ledger, job.job_id, run_folder(workspace, job.job_id), site.folder)
        return self._reader.read(ledger)


def _unread(error: PolicyViolation | DocumentError) -> Violation:
    """Return what is wrong with a job whose spec is not looked at."""
    if isinstance(error, CertificateRefused):
        return Violation(rule="submitter.certificate", finding=str(error), remedy="submit with a kit that counts")
    return Violation(rule="job.unreadable", finding=str(error), remedy="export the job again")


def _was_answered(site: SiteFiles, ledger: Ledger, envelope: JobEnvelope) -> bool:
    """Tell whether a job asks this site for numbers that it has told before, which cost nothing."""
    spec = envelope.spec
    if not isinstance(spec, StatisticsSpec) or spec.trust.kind != "local":
        return False
    return find_release(site, ledger, spec, release_key(site, spec)) is not None


def _printable(text: str) -> str:
    """Keep what a job's name may consist of."""
    return "".join(char for char in text if char.isalnum() or char in "-_ ")


def _read_envelope(app: SignedApp) -> JobEnvelope:
    """Parse the envelope that the submitter signed."""
    content = app.files.get(_JOB_FILE)
    if content is None:
        raise PolicyViolation(f"the app has no {_JOB_FILE}; only jobs that almoner exported run here")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise PolicyViolation(f"{_JOB_FILE} is not text") from None
    return parse_document(text, JobEnvelope, _JOB_FILE)


def _stray_files(app: SignedApp, envelope: JobEnvelope) -> tuple[Violation, ...]:
    """Name every file that is not, byte for byte, what the spec renders to here."""
    expected = render_app(envelope)
    found = []
    for path in sorted(app.files.keys() | expected.keys()):
        if path not in app.files:
            problem = "is missing"
        elif path not in expected:
            problem = "was added"
        elif app.files[path] != expected[path]:
            problem = "was changed"
        else:
            continue
        found.append(
            Violation(
                rule="render.identical",
                finding=f"{_path_for_print(path)} {problem} after export",
                remedy="submit the folder as it was exported",
            )
        )
    return tuple(found)


def _path_for_print(path: str) -> str:
    """Return a path fit for a one-line message."""
    return "".join(char if char.isprintable() else "?" for char in path)[:120]


def _stray_meta(
    workspace: Workspace, job_id: str, meta: dict[str, Any], app_name: str, envelope: JobEnvelope
) -> tuple[Violation, ...]:
    """Check the part of a job that nobody signs: its id and FLARE's meta data."""
    problems = []
    if not is_job_id(job_id) or meta.get("job_id") != job_id:
        problems.append(("meta.job_id", "the job id is not the job's own UUID"))
    elif run_folder(workspace, job_id).exists():
        problems.append(("meta.job_id", "there is a folder of a job with this id already"))
    if meta.get("scope") not in (None, "", names.SCOPE):
        problems.append(("meta.scope", f"privacy scope {_path_for_print(str(meta.get('scope')))} is not {names.SCOPE}"))
    if any(meta.get("resource_spec") or {}) or any(meta.get(key) for key in _FORBIDDEN_META):
        problems.append(("meta.launch", "the job asks for resources, a launcher or code of its own"))
    if app_name != APP or meta.get("name") != envelope.spec.name:
        problems.append(("meta.name", "the job's name or app is not that of its spec"))
    if meta.get("deploy_map") != render_meta(envelope)["deploy_map"]:
        problems.append(("meta.deploy_map", "not every participant is to run the one app of the job"))
    if meta.get("min_clients") != envelope.spec.min_sites:
        problems.append(("meta.min_clients", "min_clients is not the min_sites of the spec"))
    remedy = "submit the folder as it was exported"
    return tuple(Violation(rule=rule, finding=finding, remedy=remedy) for rule, finding in problems)
