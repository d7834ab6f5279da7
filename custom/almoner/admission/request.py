"""What a decision is made from: the job as submitted, and the site as it stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from almoner.admission.history import History
from almoner.privacy.ledger import AccountState
from almoner.schema.envelope import JobEnvelope
from almoner.schema.policy import SitePolicy
from almoner.schema.site import SiteConfig


@dataclass(frozen=True)
class Submitter:
    """The verified signer of a job, as the certificate says.

    Args:
        org: in FLARE's spelling, see `org_code`.
        role: "" for certificates that are not a user's.
    """

    name: str
    org: str
    role: str


@dataclass(frozen=True)
class JobRequest:
    """A job whose signature and rendering have been checked.

    Args:
        submitter: the signer.
        flare_study: the study that FLARE's server says the job was submitted under.
    """

    envelope: JobEnvelope
    submitter: Submitter
    flare_study: str


@dataclass(frozen=True)
class WorkloadFacts:
    """What a site knows of an installed workload.

    Args:
        digest: of its sources, its version.
        initial_weights: digest of the weights that training starts from.
        dimension: the number of the model's parameters.
        units: the units of privacy that its data adapter groups records by.
        one_record_per_unit: whether a unit has one record in what the adapter makes of it.
        origin: name and version of the package that it comes from; "" for Almoner's own.
    """

    digest: str
    initial_weights: str
    dimension: int
    units: tuple[str, ...]
    one_record_per_unit: bool = True
    origin: str = ""

    @property
    def package(self) -> str:
        """The digest of its package, as an envelope names it; "" for Almoner's own."""
        return self.digest if self.origin else ""


@dataclass(frozen=True)
class ApprovalState:
    """What the site's data officer said about a job.

    Args:
        problem: why a paper that is there does not count, "" if it does; one line that owes nothing to data.
        approved: False if the officer denied the job.
        digest: of the signed approval.
        submitter, workload_digest: whose job with which code it is about.
    """

    problem: str
    approved: bool = False
    expires_unix_seconds: int = 0
    digest: str = ""
    submitter: str = ""
    workload_digest: str = ""


@dataclass(frozen=True)
class SiteView:
    """A site at the moment of decision.

    Args:
        nonce_seen: whether a job with this nonce was admitted before.
        workloads: the workloads that are installed, by name.
        version: the site's release of this package.
        nominal_records: declared size of the job's data set at each site of the roster that has it.
        history: what the ledger tells of earlier jobs.
        approval: what the data officer said about this job; None if nothing.
        account: that of the job's data set, as the ledger has it.
        keys_at_site: whether every site of the roster made its own key, so that no operator ever held it.
        study_sites: all sites of the job's study, as the roster names them; () if it does not.
        stored_groups: study → how many groups its sites are in, once they were drawn; never drawn anew.
        commitments: to each data set of the site, "" where the file was touched since; no file is opened for it.
    """

    policy: SitePolicy
    config: SiteConfig
    account: AccountState
    nonce_seen: bool
    now_unix_seconds: float
    workloads: Mapping[str, WorkloadFacts]
    version: str
    nominal_records: Mapping[str, int]
    history: History = field(default_factory=History)
    approval: ApprovalState | None = None
    commitments: Mapping[str, str] = field(default_factory=dict)
    keys_at_site: bool = False
    study_sites: tuple[str, ...] = ()
    stored_groups: Mapping[str, int] = field(default_factory=dict)
