"""What a job process of a site knows about a training job, beside what it knows about any."""

from dataclasses import dataclass, field

from almoner.admission.grid import job_grid
from almoner.errors import PolicyViolation
from almoner.flare.job.job_context import JobContext
from almoner.flare.job.protections import declared_sizes, site_protection
from almoner.flare.job.wire import REPLY_TO, ReplyKind
from almoner.flare.site.site_files import SiteFiles
from almoner.privacy.plan import JobPlan
from almoner.protection.scheme import SiteProtection
from almoner.release.accuracy import RELEASE_BYTES
from almoner.schema.base import digest
from almoner.schema.envelope import JobEnvelope
from almoner.schema.job import JobSpec
from almoner.schema.site import DatasetConfig
from almoner.training.grid import UpdateGrid
from almoner.workloads.base import Workload
from almoner.workloads.checks import verify_declaration, verify_trainable
from almoner.workloads.image_workload import verify_takes
from almoner.workloads.registry import registered, workload

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
        ProtocolError: the roster lacks a site of the job.
        PolicyViolation: the job has no privacy and the data is not public; or the workload is not what the policy was
            asked about, cannot be trained record by record, or takes no image folders where the data set is one.
    """
    spec, dataset = envelope.training, site.config.datasets[envelope.training.dataset]
    _verify_public(spec, dataset)
    task = _verified_workload(spec, envelope.workload_package)
    verify_takes(task, dataset.images)
    sizes = declared_sizes(site.roster, envelope)
    grid = job_grid(envelope.training, plan.noise_multiplier, sizes.values(), task.dimension)
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


def _verify_public(spec: JobSpec, dataset: DatasetConfig) -> None:
    """Check once more that what is trained without privacy is public: its registration may have changed since."""
    if spec.privacy.mechanism == "none" and dataset.public is not True:
        raise PolicyViolation(f"data set {spec.dataset}: is not registered public any more → train it with privacy")


def _verified_workload(spec: JobSpec, package: str) -> Workload:
    """Return a job's workload, after its code and model were compared with what the site's policy was asked about."""
    task = workload(spec.workload, package)
    verify_declaration(task, spec.workload, registered(spec.workload, package))
    if spec.privacy.mechanism != "none":
        verify_trainable(task)
    return task
