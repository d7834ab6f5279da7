"""What a job process of a site knows about a training job, beside what it knows about any."""

from dataclasses import dataclass, field

from almoner.admission.grid import job_grid as admission_grid
from almoner.errors import PolicyViolation, ProtocolError
from almoner.flare.job_context import JobContext
from almoner.flare.protections import declared_sizes, site_protection
from almoner.flare.site_files import SiteFiles
from almoner.flare.wire import REPLY_TO, ReplyKind
from almoner.privacy.plan import JobPlan
from almoner.protection.scheme import SiteProtection
from almoner.release.accuracy import RELEASE_BYTES
from almoner.schema.base import digest
from almoner.schema.envelope import JobEnvelope
from almoner.schema.job import JobSpec
from almoner.training.grid import UpdateGrid
from almoner.workloads.base import Workload
from almoner.workloads.registry import WORKLOADS, workload

_QUESTION_OF = {kind: task for task, kind in REPLY_TO.items()}


@dataclass(frozen=True)
class TrainingContext(JobContext):
    """One admitted training job at one site.

    Args:
        grid: the integer grid that all sites of the job share.
    """

    protection: SiteProtection = field(repr=False)
    workload: Workload
    grid: UpdateGrid

    @property
    def spec(self) -> JobSpec:
        """The job."""
        return self.envelope.training

    def result_bytes(self, kind: ReplyKind) -> int:
        """Return the length of an update, an answer about keys, the release, or the model."""
        if kind in _QUESTION_OF:
            return self.protection.answer_bytes(_QUESTION_OF[kind])
        lengths = {ReplyKind.RELEASE: RELEASE_BYTES, ReplyKind.MODEL: 8 * self.workload.dimension}
        if kind not in lengths:
            raise PolicyViolation(f"a training job sends no {kind.name}")
        return lengths[kind]


def load_training(job_id: str, site: SiteFiles, envelope: JobEnvelope, plan: JobPlan) -> TrainingContext:
    """Return the context of a training job.

    Raises:
        ProtocolError: the roster lacks a site of the job, or the workload starts from other weights than registered.
    """
    task = _verified_workload(envelope.training.workload)
    sizes = declared_sizes(site.roster, envelope)
    grid = job_grid(envelope, plan, max(sizes.values()), task.dimension)
    return TrainingContext(
        job_id=job_id,
        site=site,
        envelope=envelope,
        envelope_digest=digest(envelope),
        plan=plan,
        nominal_records=sizes,
        protection=site_protection(site, envelope, job_id, task.dimension, grid),
        workload=task,
        grid=grid,
    )


def _verified_workload(name: str) -> Workload:
    """Return a workload, after its first weights were compared with those that the site's policy was asked about."""
    task = workload(name)
    if task.initial_weights != WORKLOADS[name].initial_weights:
        raise ProtocolError(f"workload {name}: its model does not start from the registered weights → see registry.py")
    return task


def job_grid(envelope: JobEnvelope, plan: JobPlan, max_nominal_records: int, dimension: int) -> UpdateGrid:
    """Return the job's integer grid, from public numbers alone."""
    return admission_grid(envelope.training, plan.noise_multiplier, max_nominal_records, dimension)
