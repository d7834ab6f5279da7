"""An alignment at the server: it carries sealed boxes of public lengths from one site to the others, and keeps none."""

from almoner.flare.alignment.context import QUESTIONS, SIZE_BYTES, psi_terms, unpack_size
from almoner.flare.evidence.held_heads import ServerHeads
from almoner.flare.job.wire import ReplyKind
from almoner.flare.phases.job_run import Ask, JobRun, Tell
from almoner.flare.results.alignment_result import AlignmentResult
from almoner.flare.results.job_result import JobResult
from almoner.psi.terms import PsiQuestion
from almoner.schema.envelope import JobEnvelope


class PsiRun(JobRun):
    """One alignment as the server sees it: who takes part, when, and the noised size if there is one."""

    def __init__(self, envelope: JobEnvelope, job_id: str, ask: Ask, tell: Tell, heads: ServerHeads) -> None:
        super().__init__(envelope, job_id, ask, tell, heads)
        self._terms = psi_terms(envelope, job_id)

    def _carry_out(self, introductions: dict[str, bytes], result: JobResult) -> None:
        """Put the questions to the sites in their order; all sites answer, or the job ends."""
        sites, leader, members = self._terms.sites, self._terms.leader, self._terms.members
        keys = self._put_to("keys", sites)
        lists = self._put_to("blind", sites, b"".join(keys[site] for site in sites))
        again = self._put_to("exchange", sites, b"".join(lists[site] for site in (leader, *members)))
        marks = self._put_to("compare", (leader,), b"".join(again[member] for member in members))
        self._put_to("learn", members, marks[leader])
        result.alignment = AlignmentResult(sites=sites, leader=leader)
        for release in self.envelope.psi.releases:
            self._report("psi-size", 0)
            lengths = dict.fromkeys(sites, SIZE_BYTES)
            sizes = self._gather("psi-size", 0, sites, ReplyKind.PSI_SIZE, lengths=lengths)
            noised = {"noisy_size": unpack_size(sizes[leader]), "epsilon": release.epsilon}
            result.alignment = result.alignment.model_copy(update=noised)

    def _put_to(self, question: PsiQuestion, sites: tuple[str, ...], body: bytes = b"") -> dict[str, bytes]:
        """Put one question to sites, of which each must answer."""
        task, kind = QUESTIONS[question]
        self._report(task, 0)
        lengths = {site: self._terms.answer_bytes(question, site) for site in sites}
        return self._gather(task, 0, sites, kind, body=body, need=len(sites), lengths=lengths)
