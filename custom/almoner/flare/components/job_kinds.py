"""The kinds of jobs: for each the context and the driver at a site, and the driver at the server."""

import threading
from collections.abc import Callable
from pathlib import Path

from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace

from almoner.flare.alignment.context import PsiContext, load_psi
from almoner.flare.alignment.job import PsiJob
from almoner.flare.alignment.run import PsiRun
from almoner.flare.evidence.held_heads import ServerHeads
from almoner.flare.job.job_context import JobContext, read_envelope
from almoner.flare.job.protections import server_protection
from almoner.flare.phases.job_run import Ask, JobRun, Tell
from almoner.flare.phases.site_job import SiteJob
from almoner.flare.site.site_files import SiteFiles, load_site_files
from almoner.flare.statistics.context import StatisticsContext, load_statistics
from almoner.flare.statistics.job import StatisticsJob
from almoner.flare.statistics.run import StatisticsRun
from almoner.flare.training.context import TrainingContext, load_training
from almoner.flare.training.job import TrainingJob
from almoner.flare.training.run import TrainingRun
from almoner.privacy.plan import JobPlan
from almoner.schema.envelope import JobEnvelope
from almoner.workloads.registry import registered

Load = Callable[[str, SiteFiles, JobEnvelope, JobPlan], JobContext]
_CONTEXTS: dict[str, JobContext] = {}
_LOCK = threading.Lock()


def job_context(fl_ctx: FLContext) -> JobContext:
    """Return the context of the process's job; the first call reads it.

    Raises:
        AlmonerError: a file is missing or malformed, or the roster lacks a site of the job.
    """
    job_id = str(fl_ctx.get_job_id())
    with _LOCK:
        if job_id not in _CONTEXTS:
            _CONTEXTS[job_id] = _load(fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT), job_id)
        return _CONTEXTS[job_id]


def site_job(context: JobContext) -> SiteJob:
    """Return the driver of a job at a site."""
    match context:
        case TrainingContext():
            return TrainingJob(context)
        case StatisticsContext():
            return StatisticsJob(context)
        case PsiContext():
            return PsiJob(context)
    raise TypeError(type(context).__name__)


def job_run(envelope: JobEnvelope, job_id: str, ask: Ask, tell: Tell, heads: ServerHeads) -> JobRun:
    """Return the driver of a job at the server.

    Raises:
        ProtocolError: the roster lacks a site of the job, or there are too few for its protection.
        PolicyViolation: the server has no such workload, or another version of its package. It imports none.
    """
    if envelope.spec.kind == "statistics":
        return StatisticsRun(envelope, job_id, ask, tell, heads)
    if envelope.spec.kind == "psi":
        return PsiRun(envelope, job_id, ask, tell, heads)
    dimension = registered(envelope.training.workload, envelope.workload_package).dimension
    protection = server_protection(envelope, job_id, heads.roster, dimension)
    return TrainingRun(envelope, job_id, protection, dimension, ask, tell, heads)


def _load(workspace: Workspace, job_id: str) -> JobContext:
    """Read kit, deployed job, and what the ledger has reserved for it."""
    site = load_site_files(workspace)
    envelope = read_envelope(Path(workspace.get_app_config_dir(job_id)))
    with site.ledger() as ledger:
        plan = JobPlan.of_steps(ledger.reserved_steps(job_id))
    load: Load = {"training": load_training, "statistics": load_statistics, "psi": load_psi}[envelope.spec.kind]
    return load(job_id, site, envelope, plan)
