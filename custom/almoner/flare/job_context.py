"""What one job process of a site knows about its job: read once, from what the site itself wrote."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace

from almoner.admission.grid import job_grid as admission_grid
from almoner.encryption.bfv import BfvScheme
from almoner.encryption.bfv_key import BfvKey
from almoner.encryption.plain import PlainScheme
from almoner.encryption.scheme import ProtectionScheme
from almoner.errors import ProtocolError
from almoner.flare.site_files import SiteFiles, load_site_files
from almoner.privacy.plan import JobPlan
from almoner.provision import names
from almoner.schema.base import digest
from almoner.schema.documents import load_document
from almoner.schema.job import JobEnvelope
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
        scheme: the protection that the JobSpec names, with this site's key where it has one.
    """

    job_id: str
    site: SiteFiles
    envelope: JobEnvelope
    envelope_digest: str
    plan: JobPlan
    workload: Workload
    nominal_records: dict[str, int]
    grid: UpdateGrid
    scheme: ProtectionScheme = field(repr=False)

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
    sizes = _sizes(site, envelope)
    return JobContext(
        job_id=job_id,
        site=site,
        envelope=envelope,
        envelope_digest=digest(envelope),
        plan=plan,
        workload=task,
        nominal_records=sizes,
        grid=job_grid(envelope, plan, max(sizes.values()), task.dimension),
        scheme=_site_scheme(site, envelope, task.dimension),
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


def _sizes(site: SiteFiles, envelope: JobEnvelope) -> dict[str, int]:
    """Return the declared sizes of the job's data set at its sites, in roster order."""
    sizes = {
        entry.site: entry.nominal_records[envelope.spec.dataset]
        for entry in site.roster.sites
        if entry.site in envelope.sites and envelope.spec.dataset in entry.nominal_records
    }
    if missing := set(envelope.sites) - set(sizes):
        raise ProtocolError(f"the roster has no size of {envelope.spec.dataset} at {', '.join(sorted(missing))}")
    return sizes


def _site_scheme(site: SiteFiles, envelope: JobEnvelope, dimension: int) -> ProtectionScheme:
    """Return a site's side of the protection."""
    if envelope.spec.aggregation.kind == "he":
        key = BfvKey.from_bytes((site.kit / "startup" / names.HE_KEY_FILE).read_bytes())
        return BfvScheme.for_site(dimension, key)
    return PlainScheme(dimension)


def server_scheme(envelope: JobEnvelope, dimension: int) -> ProtectionScheme:
    """Return the server's side of the protection: it adds, and holds no key."""
    return BfvScheme.for_server(dimension) if envelope.spec.aggregation.kind == "he" else PlainScheme(dimension)
