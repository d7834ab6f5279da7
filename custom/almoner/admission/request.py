"""What a decision is made from: the job as submitted, and the site as it stands."""

from dataclasses import dataclass

from almoner.privacy.ledger import AccountState
from almoner.schema.job import JobEnvelope
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
class SiteView:
    """A site at the moment of decision.

    Args:
        nonce_seen: whether a job with this nonce was admitted before.
        workloads: names of the workloads that are installed.
        version: the site's release of this package.
    """

    policy: SitePolicy
    config: SiteConfig
    account: AccountState
    nonce_seen: bool
    now_unix_seconds: float
    workloads: frozenset[str]
    version: str
