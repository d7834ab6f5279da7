"""What a site's ledger tells of earlier jobs: the facts behind quotas, rates, pauses and approvals."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from almoner.schema.site import SiteConfig

DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class PastJob:
    """A job that holds or held a reservation.

    Args:
        study, submitter: None if the ledger does not say; the job then counts for every one of them.
        charge: what it holds now, reserved or committed, in RDP at the account's order.
        planned, committed, released: its steps, those that may have touched data, those of which a result left.
        started: whether its process was started.
        ended_unix_seconds: when it was settled or abandoned; None while it is open.
        approval_digest: of the approval that admitted it, or "".
    """

    job_id: str
    population: str
    reserved_unix_seconds: float
    charge: float
    planned: int
    study: str | None = None
    submitter: str | None = None
    committed: int = 0
    released: int = 0
    started: bool = False
    ended_unix_seconds: float | None = None
    approval_digest: str = ""

    @property
    def dead(self) -> bool:
        """Whether it was charged and ended before its last result left; who commits nothing costs nothing."""
        return self.committed > 0 and self.ended_unix_seconds is not None and self.released < self.planned


Whose = Literal["study", "submitter"]


@dataclass(frozen=True)
class JoinedDataset:
    """A data set as it was, or would be, when the units of all populations were compared.

    Args:
        commitment: to the file's bytes; "" if there is none that holds now.
    """

    population: str
    unit_column: str | None
    commitment: str


def datasets_to_join(config: SiteConfig, commitments: Mapping[str, str]) -> dict[str, JoinedDataset]:
    """Return every data set of a site as a join must have seen it to hold now.

    Args:
        commitments: the commitment to each data set that holds now, "" or none where the file was touched since.
    """
    return {
        name: JoinedDataset(found.population, found.unit_column, commitments.get(name, ""))
        for name, found in config.datasets.items()
    }


@dataclass(frozen=True)
class History:
    """All jobs of a site that were ever admitted.

    Args:
        policy_digest: of the policy that the ledger recorded last, or "".
        approvals: job digest → digest of the approval that the ledger recorded last.
        populations: those that the ledger has an account of.
        joined: the data sets of the last join that found no unit in two populations; empty if there was none.
    """

    jobs: tuple[PastJob, ...] = ()
    policy_digest: str = ""
    approvals: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    populations: frozenset[str] = frozenset()
    joined: Mapping[str, JoinedDataset] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, whose: Whose, name: str) -> Iterator[PastJob]:
        """Yield the jobs of one study or submitter, and those of which the ledger does not say."""
        return (job for job in self.jobs if getattr(job, whose) in (name, None))

    def charge_of(self, whose: Whose, name: str, population: str) -> float:
        """Return what the jobs of one study or submitter hold of an account, for life."""
        return sum(job.charge for job in self.of(whose, name) if job.population == population)

    def charge_of_month(self, now_unix_seconds: float, population: str) -> float:
        """Return what jobs admitted since the calendar month began (UTC) hold of an account."""
        now = datetime.fromtimestamp(now_unix_seconds, UTC)
        start = datetime(now.year, now.month, 1, tzinfo=UTC).timestamp()
        jobs = (job for job in self.jobs if job.population == population)
        return sum(job.charge for job in jobs if job.reserved_unix_seconds >= start)

    def admitted_today(self, whose: Whose, name: str, now_unix_seconds: float) -> int:
        """Return how many jobs of one study or submitter were admitted in the last 24 hours."""
        since = now_unix_seconds - DAY_SECONDS
        return sum(job.reserved_unix_seconds > since for job in self.of(whose, name))

    def dead(self, whose: Whose, name: str, since_unix_seconds: float) -> tuple[PastJob, ...]:
        """Return the jobs of one study or submitter that died since a time."""
        jobs = (job for job in self.of(whose, name) if job.dead)
        return tuple(job for job in jobs if (job.ended_unix_seconds or 0.0) > since_unix_seconds)

    def approval_in_use(self, approval_digest: str) -> bool:
        """Say whether an approval was used up: by a job that is open, or that may have touched data.

        A job that has no step to commit (an alignment without a release) may have touched data once it was started.
        """
        jobs = (job for job in self.jobs if job.approval_digest == approval_digest)
        return any(job.ended_unix_seconds is None or job.committed or (job.started and not job.planned) for job in jobs)
