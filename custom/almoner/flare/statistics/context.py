"""What a job process of a site knows about a request for statistics, beside what it knows about any job."""

from dataclasses import dataclass

import numpy as np

from almoner.errors import PolicyViolation
from almoner.flare.job.job_context import JobContext
from almoner.flare.job.protections import declared_sizes
from almoner.flare.job.sealed import Sealed
from almoner.flare.job.wire import REPLY_TO, ReplyKind
from almoner.flare.site.release_store import keep_release, release_key
from almoner.flare.site.site_files import SiteFiles
from almoner.privacy.plan import JobPlan
from almoner.protection.set_up import JobTerms
from almoner.schema.base import digest
from almoner.schema.consortium import Roster
from almoner.schema.envelope import JobEnvelope
from almoner.schema.statistics import StatisticsSpec
from almoner.secagg.site import SecaggSite

CELL_BYTES = 8
_QUESTION_OF = {kind: task for task, kind in REPLY_TO.items()}


@dataclass(frozen=True)
class StatisticsContext(JobContext):
    """One admitted request at one site; under the local trust model it has no protection and no keys.

    Args:
        stored_as: the request's `release_key` when its process began, before anything was committed.
    """

    stored_as: str | None = None

    @property
    def spec(self) -> StatisticsSpec:
        """The request."""
        return self.envelope.statistics

    def result_bytes(self, kind: ReplyKind) -> int:
        """Return the length of the noised numbers, of the opened total, or of an answer of the protection."""
        if self.protection is not None and kind in _QUESTION_OF:
            return self.protection.answer_bytes(_QUESTION_OF[kind])
        if kind is (ReplyKind.STATISTICS if self.protection is None else ReplyKind.TOTAL):
            return CELL_BYTES * self.spec.num_cells
        raise PolicyViolation(f"a request for statistics sends no {kind.name}")

    def keep(self, sealed: Sealed) -> None:
        """Keep this site's own noised numbers: the same request gets them again for nothing."""
        if sealed.kind is ReplyKind.STATISTICS and isinstance(sealed.body, bytes) and not sealed.of_job:
            keep_release(self.site, self.stored_as, self.job_id, np.frombuffer(sealed.body, dtype="<i8"))


def load_statistics(job_id: str, site: SiteFiles, envelope: JobEnvelope, plan: JobPlan) -> StatisticsContext:
    """Return the context of a request.

    Raises:
        ProtocolError: the roster lacks a site of the job, or there are too few for those that may collude.
    """
    protection = None
    if envelope.statistics.trust.kind == "distributed":
        terms = statistics_terms(envelope, job_id, site.roster)
        key = site.private_key()
        protection = SecaggSite(terms, site.roster, site.root_ca.read_bytes(), site.policy.site, key)
    return StatisticsContext(
        job_id=job_id,
        site=site,
        envelope=envelope,
        envelope_digest=digest(envelope),
        plan=plan,
        nominal_records=declared_sizes(site.roster, envelope),
        protection=protection,
        stored_as=None if protection else release_key(site, envelope.statistics),
    )


def statistics_terms(envelope: JobEnvelope, job_id: str, roster: Roster) -> JobTerms:
    """Return what all parties of a distributed request must mean alike; its values are added modulo p."""
    spec, sizes = envelope.statistics, declared_sizes(roster, envelope)
    return JobTerms(
        envelope_digest=digest(envelope),
        job_id=job_id,
        scheme="secagg",
        sites=envelope.sites,
        declared=tuple(sizes[name] for name in envelope.sites),
        num_colluding_sites=spec.num_colluding_sites,
        min_sites=spec.min_sites,
        dimension=spec.num_cells,
        limit=0,
        step=1.0,
        nonce=envelope.nonce,
    )
