"""What one job process of a site knows about its job: read once, from what the site itself wrote."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace

from almoner.admission.grid import job_grid as admission_grid
from almoner.errors import ProtocolError
from almoner.flare.protections import declared_sizes, site_protection
from almoner.flare.site_files import SiteFiles, load_site_files
from almoner.privacy.plan import JobPlan
from almoner.protection.scheme import SiteProtection
from almoner.provision import names
from almoner.schema.base import digest
from almoner.schema.documents import load_document
from almoner.schema.envelope import JobEnvelope
from almoner.schema.site import DatasetConfig
from almoner.training.grid import UpdateGrid
from almoner.workloads.base import Workload
from almoner.workloads.registry import WORKLOADS, workload

_CONTEXTS: dict[str, "JobContext"] = {}
_LOCK = threading.Lock()


@dataclass(frozen=True)
class JobContext:
    """One admitted job at one site.

    Args:
        plan: what the ledger has reserved for the job, noise included; nothing is calibrated anew.
        nominal_records: declared public size of the data set at each site of the job, in roster order.
        grid: the integer grid that all sites of the job share.
        protection: this site's side of the protection that the JobSpec names. The one thing here that changes: its
            keys and what it has answered live in it alone, never in a file.
    """

    job_id: str
    site: SiteFiles
    envelope: JobEnvelope
    envelope_digest: str
    plan: JobPlan
    workload: Workload
    nominal_records: dict[str, int]
    grid: UpdateGrid
    protection: SiteProtection = field(repr=False)

    @property
    def dataset(self) -> DatasetConfig:
        """This site's configuration of the job's data set."""
        return self.site.config.datasets[self.envelope.spec.dataset]

    @property
    def data_path(self) -> Path:
        """This site's data file."""
        return self.site.folder / self.dataset.path


def read_envelope(app_config: Path) -> JobEnvelope:
    """Read the envelope out of a deployed job's `config` folder."""
    return load_document(app_config / names.JOB_FILE, JobEnvelope)


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


def _load(workspace: Workspace, job_id: str) -> JobContext:
    """Read kit and deployed job."""
    site = load_site_files(workspace)
    envelope = read_envelope(Path(workspace.get_app_config_dir(job_id)))
    task = _verified_workload(envelope.spec.workload)
    with site.ledger() as ledger:
        plan = JobPlan.of_steps(ledger.reserved_steps(job_id))
    sizes = declared_sizes(site.roster, envelope)
    grid = job_grid(envelope, plan, max(sizes.values()), task.dimension)
    return JobContext(
        job_id=job_id,
        site=site,
        envelope=envelope,
        envelope_digest=digest(envelope),
        plan=plan,
        workload=task,
        nominal_records=sizes,
        grid=grid,
        protection=site_protection(site, envelope, job_id, task.dimension, grid),
    )


def _verified_workload(name: str) -> Workload:
    """Return a workload, after its first weights were compared with those that the site's policy was asked about."""
    task = workload(name)
    if task.initial_weights != WORKLOADS[name].initial_weights:
        raise ProtocolError(f"workload {name}: its model does not start from the registered weights → see registry.py")
    return task


def job_grid(envelope: JobEnvelope, plan: JobPlan, max_nominal_records: int, dimension: int) -> UpdateGrid:
    """Return the job's integer grid, from public numbers alone."""
    return admission_grid(envelope.spec, plan.noise_multiplier, max_nominal_records, dimension)
