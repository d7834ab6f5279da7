"""What a job process of a site knows about an alignment, beside what it knows about any job."""

import struct
from dataclasses import dataclass

from almoner.errors import PolicyViolation
from almoner.flare.job.job_context import JobContext
from almoner.flare.job.protections import declared_sizes
from almoner.flare.job.wire import ReplyKind, TaskKind
from almoner.flare.site.site_files import SiteFiles
from almoner.privacy.plan import JobPlan
from almoner.psi.terms import PsiQuestion, PsiTerms
from almoner.schema.base import digest
from almoner.schema.envelope import JobEnvelope
from almoner.schema.psi import PsiSpec

_SIZE = struct.Struct("<q")
SIZE_BYTES = _SIZE.size

QUESTIONS: dict[PsiQuestion, tuple[TaskKind, ReplyKind]] = {
    "keys": ("psi-keys", ReplyKind.PSI_KEYS),
    "blind": ("psi-blind", ReplyKind.PSI_LIST),
    "exchange": ("psi-exchange", ReplyKind.PSI_LIST_AGAIN),
    "compare": ("psi-compare", ReplyKind.PSI_MARKS),
    "learn": ("psi-learn", ReplyKind.PSI_LEARNT),
}
"""The questions of an alignment → the task that carries one, and the reply that answers it."""

_QUESTION_OF = {kind: question for question, (_, kind) in QUESTIONS.items()}


@dataclass(frozen=True)
class PsiContext(JobContext):
    """One admitted alignment at one site."""

    @property
    def spec(self) -> PsiSpec:
        """The job."""
        return self.envelope.psi

    @property
    def terms(self) -> PsiTerms:
        """What all its sites must mean alike."""
        return psi_terms(self.envelope, self.job_id)

    def result_bytes(self, kind: ReplyKind) -> int:
        """Return the length of an answer to a question of the alignment, or of the size."""
        if kind is ReplyKind.PSI_SIZE:
            return SIZE_BYTES
        if kind not in _QUESTION_OF:
            raise PolicyViolation(f"an alignment sends no {kind.name}")
        return self.terms.answer_bytes(_QUESTION_OF[kind], self.site.policy.site)


def psi_terms(envelope: JobEnvelope, job_id: str) -> PsiTerms:
    """Return the terms of an alignment.

    Raises:
        ProtocolError: the envelope is for other sites than the spec names.
    """
    return PsiTerms(
        envelope_digest=digest(envelope),
        job_id=job_id,
        sites=envelope.sites,
        leader=envelope.psi.leader,
        cap=envelope.psi.max_identifiers,
        nonce=envelope.nonce,
    )


def pack_size(number: int) -> bytes:
    """Return a noised size as it is sent: 64 bits, little-endian."""
    return _SIZE.pack(number)


def unpack_size(data: bytes) -> int:
    """Return the number in a reply of the right length."""
    return int(_SIZE.unpack(data)[0])


def load_psi(job_id: str, site: SiteFiles, envelope: JobEnvelope, plan: JobPlan) -> PsiContext:
    """Return the context of an alignment.

    Raises:
        ProtocolError: the roster lacks a site of the job.
    """
    return PsiContext(
        job_id=job_id,
        site=site,
        envelope=envelope,
        envelope_digest=digest(envelope),
        plan=plan,
        nominal_records=declared_sizes(site.roster, envelope),
        protection=None,
    )
