"""What one job process of a site knows about its job, whatever its kind: read once, from what the site itself wrote."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes

from almoner.flare.job.sealed import Sealed
from almoner.flare.job.wire import ReplyKind
from almoner.flare.site.site_files import SiteFiles
from almoner.privacy.plan import JobPlan
from almoner.protection.scheme import SiteProtection
from almoner.provision import names
from almoner.schema.documents import load_document
from almoner.schema.envelope import JobEnvelope
from almoner.schema.site import DatasetConfig

_KEY_BYTES = 32


@dataclass(frozen=True)
class JobContext(ABC):
    """One admitted job at one site.

    Args:
        plan: what the ledger has reserved for the job, noise included; nothing is calibrated anew.
        nominal_records: declared public size of the data set at each site of the job, in roster order.
        protection: this site's side of the job's protection, None where it needs none. The one thing here that
            changes: its keys and what it has answered live in it alone, never in a file.
        digest_key: 32 random bytes of this process alone, never in a file or a message; see `result_digest`.
    """

    job_id: str
    site: SiteFiles
    envelope: JobEnvelope
    envelope_digest: str
    plan: JobPlan
    nominal_records: dict[str, int]
    protection: SiteProtection | None = field(repr=False)
    digest_key: bytes = field(default_factory=lambda: token_bytes(_KEY_BYTES), init=False, repr=False, compare=False)

    @property
    def dataset(self) -> DatasetConfig:
        """This site's configuration of the job's data set."""
        return self.site.config.datasets[self.envelope.spec.dataset]

    @property
    def data_path(self) -> Path:
        """This site's data file."""
        return self.site.folder / self.dataset.path

    @abstractmethod
    def result_bytes(self, kind: ReplyKind) -> int:
        """Return the one length of a reply that only jobs of this kind send, without a ledger head.

        Raises:
            PolicyViolation: they send none of this kind.
        """

    def keep(self, sealed: Sealed) -> None:  # noqa: B027 - most kinds keep nothing
        """Keep a result that the ledger has just written down as released, where jobs of this kind do."""


def read_envelope(app_config: Path) -> JobEnvelope:
    """Read the envelope out of a deployed job's `config` folder."""
    return load_document(app_config / names.JOB_FILE, JobEnvelope)
