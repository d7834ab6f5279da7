"""Every kind of job, and the envelope in which one is submitted once."""

from typing import Annotated, Literal

from pydantic import Field, RootModel, StringConstraints, model_validator

from almoner.errors import ProtocolError
from almoner.schema.base import Digest, Document, Name, PlainText
from almoner.schema.job import JobSpec
from almoner.schema.psi import PsiSpec
from almoner.schema.statistics import StatisticsSpec

AnyJobSpec = Annotated[JobSpec | StatisticsSpec | PsiSpec, Field(discriminator="kind")]
"""A job of any kind. All have name, study, purpose, dataset, min_sites, num_colluding_sites, privacy_unit,
neighboring_relation, target_delta and trust_model()."""


JOB_KINDS: dict[str, type[JobSpec] | type[StatisticsSpec] | type[PsiSpec]] = {
    "training": JobSpec,
    "statistics": StatisticsSpec,
    "psi": PsiSpec,
}
"""By `kind`; errors in a document of a known kind name its fields better than the union's do."""


class AnyJob(RootModel[AnyJobSpec]):
    """What a file of `jobs/` may hold; the job itself is `root`."""


def workload_of(spec: AnyJobSpec) -> str:
    """Return the workload that a job trains, "" for jobs that train none."""
    return spec.workload if isinstance(spec, JobSpec) else ""


class JobEnvelope(Document):
    """A spec made ready for exactly one submission.

    Args:
        spec: the job.
        sites: the sites that the job is for, in roster order.
        nonce: 128 random bits in hexadecimal; a site accepts a nonce once.
        issued_unix_seconds: when it was exported, by the submitter's clock.
        expires_unix_seconds: no site accepts the envelope after this time.
        almoner_version: the release that rendered the folder; sites compare it with their own.
        workload_package: digest of the package that the workload comes from, as it was installed at the export; ""
            where it comes with Almoner. Sites compare it with their own, so that all train the same code.
    """

    spec: AnyJobSpec
    sites: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50)]
    nonce: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    issued_unix_seconds: Annotated[int, Field(gt=0, lt=2**53)]
    expires_unix_seconds: Annotated[int, Field(gt=0, lt=2**53)]
    almoner_version: PlainText
    workload_package: Digest | Literal[""]

    @model_validator(mode="after")
    def _sites_are_distinct_and_enough(self) -> "JobEnvelope":
        if len(set(self.sites)) != len(self.sites):
            raise ValueError("sites: a site is named twice")
        if len(self.sites) < self.spec.min_sites:
            raise ValueError(f"sites: {len(self.sites)} named, but the job wants min_sites={self.spec.min_sites}")
        return self

    @property
    def training(self) -> JobSpec:
        """The spec of a training job.

        Raises:
            ProtocolError: the job is of another kind.
        """
        if not isinstance(self.spec, JobSpec):
            raise ProtocolError(f"job {self.spec.name} is of kind {self.spec.kind}, not training")
        return self.spec

    @property
    def statistics(self) -> StatisticsSpec:
        """The spec of a request for statistics.

        Raises:
            ProtocolError: the job is of another kind.
        """
        if not isinstance(self.spec, StatisticsSpec):
            raise ProtocolError(f"job {self.spec.name} is of kind {self.spec.kind}, not statistics")
        return self.spec

    @property
    def psi(self) -> PsiSpec:
        """The spec of an alignment.

        Raises:
            ProtocolError: the job is of another kind.
        """
        if not isinstance(self.spec, PsiSpec):
            raise ProtocolError(f"job {self.spec.name} is of kind {self.spec.kind}, not psi")
        return self.spec
