"""A training job at the server: rounds, release, model. It relays each round's total; the sites take the step."""

import logging

from almoner.flare.evidence.held_heads import ServerHeads
from almoner.flare.job.consent import CONSENT_BYTES
from almoner.flare.job.protections import quorum
from almoner.flare.job.wire import ReplyKind, TaskHeader
from almoner.flare.phases.job_run import Ask, JobRun, Tell
from almoner.flare.results.job_result import JobResult, RoundRecord, agreed_body
from almoner.protection.scheme import RoundTotal, ServerProtection
from almoner.schema.envelope import JobEnvelope

logger = logging.getLogger(__name__)


class TrainingRun(JobRun):
    """One training job as the server sees it.

    Args:
        protection: the server's side of it.
        dimension: number of the model's parameters.
    """

    def __init__(
        self,
        envelope: JobEnvelope,
        job_id: str,
        protection: ServerProtection,
        dimension: int,
        ask: Ask,
        tell: Tell,
        heads: ServerHeads,
    ) -> None:
        super().__init__(envelope, job_id, ask, tell, heads)
        self.protection, self.dimension = protection, dimension
        self.num_rounds = envelope.training.rounds

    def _carry_out(self, introductions: dict[str, bytes], result: JobResult) -> None:
        """Agree on keys, train, and ask for the release and the model."""
        rounds = self.num_rounds
        if rounds:
            self._sites = self._converse(self.protection.set_up(self._sites))
        for number in range(1, rounds + 1):
            self._report("train", number, done=number - 1)
            self._last = self._converse(self.protection.round(number, self._sites))
            result.rounds.append(RoundRecord.of(number, self._last))
            self._report("train", number, done=number)
        if self.envelope.training.releases:
            self._report("release", rounds + 1, done=rounds)
            body, parts = self._last.body, self._last.contributors
            replies = self._gather("release", rounds + 1, self._sites, ReplyKind.RELEASE, parts, body)
            result.releases = {site: reply.hex() for site, reply in replies.items()}
            self._sites, self._last = tuple(replies), RoundTotal((), b"")
        self._report("model", rounds + 1, done=rounds)
        consents = {site: data[:CONSENT_BYTES] for site, data in introductions.items()}
        result.model = self._fetch_model(consents, result)

    def _fetch_model(self, consents: dict[str, bytes], result: JobResult) -> list[float] | None:
        """Ask the sites for the model, if every one that contributed consents; it counts if enough give the same."""
        contributors = [site for site in consents if result.has(site) or not result.rounds]
        if any(consents[site][:1] != b"\x01" for site in contributors):
            logger.info("not all sites let the model go")
            return None
        header = TaskHeader(
            kind="model",
            round=self.num_rounds + 1,
            contributors=self._last.contributors,
            ring=(),
            consents={site: consents[site].hex() for site in contributors},
        )
        least, lengths = quorum(self.envelope), dict.fromkeys(self._sites, 8 * self.dimension)
        given = self._ask(header, self._last.body, self._sites, ReplyKind.MODEL, least, lengths)
        model = agreed_body(given, least)
        self._checks.drop_vouchers(ReplyKind.MODEL, given, model)
        return None if model is None else JobResult.weights_of(model, self.dimension)
