"""A request for statistics at the server: every site's noised numbers, or one round and the total that it opens."""

from almoner.errors import FederationError
from almoner.flare.evidence.held_heads import ServerHeads
from almoner.flare.job.protections import quorum
from almoner.flare.job.wire import ReplyKind, TaskHeader
from almoner.flare.phases.job_run import Ask, JobRun, Tell
from almoner.flare.results.job_result import JobResult, RoundRecord, agreed_body
from almoner.flare.results.statistics_result import StatisticsResult, read_cells
from almoner.flare.statistics.context import CELL_BYTES, statistics_terms
from almoner.flare.statistics.job import ROUND
from almoner.schema.envelope import JobEnvelope
from almoner.secagg.server import SecaggServer


class StatisticsRun(JobRun):
    """One request as the server sees it: under the local trust model every site's noised numbers, else their total."""

    num_rounds = ROUND

    def __init__(self, envelope: JobEnvelope, job_id: str, ask: Ask, tell: Tell, heads: ServerHeads) -> None:
        super().__init__(envelope, job_id, ask, tell, heads)
        self._spec = envelope.statistics
        self._bytes = CELL_BYTES * self._spec.num_cells

    def _carry_out(self, introductions: dict[str, bytes], result: JobResult) -> None:
        """Ask every site for its numbers, or have them added up."""
        found = StatisticsResult(spec=self._spec, sites=self.envelope.sites)
        if self._spec.trust.kind == "local":
            self._report("statistics", ROUND)
            lengths = dict.fromkeys(self._sites, self._bytes)
            replies = self._gather("statistics", ROUND, self._sites, ReplyKind.STATISTICS, lengths=lengths)
            cells = {site: read_cells(reply) for site, reply in replies.items()}
            result.statistics = found.model_copy(update={"by_site": cells})
        else:
            total, contributors = self._add_up(result)
            result.statistics = found.model_copy(update={"total": total, "contributors": contributors})
        self._report("statistics", ROUND, done=ROUND)

    def _add_up(self, result: JobResult) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Agree on keys, run the one round, and have the sites open its total; return it with its contributors."""
        protection = SecaggServer(statistics_terms(self.envelope, self.job_id, self.heads.roster), self.heads.roster)
        self._sites = self._converse(protection.set_up(self._sites))
        self._report("train", ROUND)
        last = self._converse(protection.round(ROUND, self._sites))
        result.rounds.append(RoundRecord.of(ROUND, last))
        self._report("total", ROUND)
        self._checks.of_sites = last.contributors
        header = TaskHeader(kind="total", round=ROUND, contributors=last.contributors, ring=(), consents={})
        lengths, least = dict.fromkeys(self._sites, self._bytes), quorum(self.envelope)
        given = self._ask(header, last.body, self._sites, ReplyKind.TOTAL, least, lengths)
        total = agreed_body(given, least)
        self._checks.drop_vouchers(ReplyKind.TOTAL, given, total)
        if total is None:
            raise FederationError(f"total: fewer than {least} sites opened the same; what was charged stays charged")
        return read_cells(total), last.contributors
