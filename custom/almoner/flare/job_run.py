"""The phases of one job at the server: set-up, ledger heads, keys, rounds, release, model.

The server holds no model and no key. It puts the protection's questions to the sites and relays each round's
total; the sites open it and take the step.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from almoner.errors import FederationError
from almoner.flare.answers import IsGood
from almoner.flare.consent import CONSENT_BYTES
from almoner.flare.head_statements import set_up_occasion
from almoner.flare.held_heads import ServerHeads
from almoner.flare.job_result import JobResult, RoundRecord
from almoner.flare.protections import quorum
from almoner.flare.replies import ReplyChecks
from almoner.flare.wire import REPLY_TO, Reply, ReplyKind, TaskHeader, TaskKind
from almoner.privacy.heads import pack_heads, unpack_heads
from almoner.protection.scheme import Conversation, Question, RoundTotal, ServerProtection
from almoner.schema.job import JobEnvelope

logger = logging.getLogger(__name__)

Ask = Callable[[TaskHeader, bytes, tuple[str, ...], int, int, IsGood], dict[str, Reply]]
"""Sends a task to sites and returns what they answer by site; see `Answers` for the two numbers."""
T = TypeVar("T")


@dataclass
class JobRun:
    """One job as the server sees it.

    Args:
        job_id: FLARE's.
        protection: the server's side of it.
        dimension: number of the model's parameters.
        ask: how sites are asked.
        tell: takes each change of the progress.
        heads: the ledger heads that the server holds.
    """

    envelope: JobEnvelope
    job_id: str
    protection: ServerProtection
    dimension: int
    ask: Ask
    tell: Callable[[dict[str, Any]], None]
    heads: ServerHeads
    _last: RoundTotal = field(default=RoundTotal((), b""), init=False)
    _sites: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        self._checks = ReplyChecks(self.envelope, self.job_id, self.heads)

    def run(self, running: tuple[str, ...]) -> JobResult:
        """Carry out all phases.

        Args:
            running: the sites on which FLARE has started the job.

        Raises:
            FederationError: too few sites took part in a phase, or the job was aborted.
        """
        spec, result = self.envelope.spec, JobResult(job=self.envelope.spec.name)
        introductions = self._set_up(running)
        consents = {site: data[:CONSENT_BYTES] for site, data in introductions.items()}
        self._exchange_heads(introductions, result)
        if spec.rounds:
            self._sites = self._converse(self.protection.set_up(self._sites))
        for number in range(1, spec.rounds + 1):
            self._report("train", number, done=number - 1)
            self._last = self._converse(self.protection.round(number, self._sites))
            result.rounds.append(RoundRecord.of(number, self._last))
            self._report("train", number, done=number)
        if spec.releases:
            self._report("release", spec.rounds + 1, done=spec.rounds)
            body, parts = self._last.body, self._last.contributors
            replies = self._gather("release", spec.rounds + 1, self._sites, ReplyKind.RELEASE, parts, body)
            result.releases = {site: reply.hex() for site, reply in replies.items()}
            self._sites, self._last = tuple(replies), RoundTotal((), b"")
        self._report("model", spec.rounds + 1, done=spec.rounds)
        result.model = self._fetch_model(consents, result)
        return result

    def _set_up(self, running: tuple[str, ...]) -> dict[str, bytes]:
        """Collect the sites' introductions; who answers takes part."""
        self._sites = tuple(site for site in self.envelope.sites if site in running)
        self._report("setup", 0)
        return self._gather("setup", 0, self._sites, ReplyKind.SETUP)

    def _exchange_heads(self, introductions: dict[str, bytes], result: JobResult) -> None:
        """Have each site prove its ledger and keep the others' heads; the sites that did go on."""
        sites = self.envelope.sites
        body = b"".join(introductions.values()) + pack_heads(sites, self.heads.held())
        self._checks.occasion = set_up_occasion(self.job_id, body)
        proofs = self._gather("heads", 0, tuple(introductions), ReplyKind.HEAD, tuple(introductions), body)
        proven, body = tuple(proofs), b"".join(proofs.values())
        cosigned = self._gather("cosign", 0, proven, ReplyKind.COSIGNATURE, proven, body)
        heads = unpack_heads(proven, body)
        self.heads.keep(heads)
        result.heads = {site: head.to_json() for site, head in heads.items()}
        result.cosignatures = {site: reply.hex() for site, reply in cosigned.items()}
        self._sites = tuple(cosigned)

    def _converse(self, conversation: Conversation[T]) -> T:
        """Put the protection's questions to the sites until it has what it needs."""
        try:
            question = next(conversation)
            while True:
                question = conversation.send(self._put(question))
        except StopIteration as end:
            result: T = end.value
            return result

    def _put(self, question: Question) -> dict[str, bytes]:
        """Put one question; who answers a round's last "train" or "acknowledge" can open its total, and goes on."""
        task, body, parts = question.task, question.body, question.contributors
        ring: tuple[str, ...] = ()
        if task == "train":
            body, parts, ring = self._last.body + body, self._last.contributors, parts
        answers = self._gather(
            task,
            question.number,
            question.sites,
            REPLY_TO[task],
            parts,
            body,
            ring=ring,
            need=question.min_answers,
            enough=question.enough_answers,
            lengths=question.answer_bytes,
        )
        if task in ("train", "acknowledge"):
            self._sites = tuple(answers)
        return answers

    def _fetch_model(self, consents: dict[str, bytes], result: JobResult) -> list[float] | None:
        """Ask the sites for the model, if every one that contributed consents; it counts if enough give the same."""
        contributors = [site for site in consents if result.has(site) or not result.rounds]
        if any(consents[site][:1] != b"\x01" for site in contributors):
            logger.info("not all sites let the model go")
            return None
        header = TaskHeader(
            kind="model",
            round=self.envelope.spec.rounds + 1,
            contributors=self._last.contributors,
            ring=(),
            consents={site: consents[site].hex() for site in contributors},
        )
        least, lengths = quorum(self.envelope), dict.fromkeys(self._sites, 8 * self.dimension)
        given = self._ask(header, self._last.body, self._sites, ReplyKind.MODEL, least, lengths)
        return JobResult.agreed_model(given, least)

    def _ask(
        self,
        header: TaskHeader,
        body: bytes,
        sites: tuple[str, ...],
        wanted: ReplyKind,
        least: int,
        lengths: dict[str, int],
        enough: int | None = None,
    ) -> dict[str, bytes]:
        """Ask sites for one kind of reply, if there are enough; return the good ones' bodies in roster order."""

        def is_good(site: str, reply: Reply) -> bool:
            return self._checks.looks_good(reply, wanted, header.round, lengths.get(site))

        enough = least if enough is None else enough
        replies = self.ask(header, body, sites, least, enough, is_good) if len(sites) >= least else {}
        return self._checks.good(replies, wanted, header.round, lengths)

    def _gather(
        self,
        kind: TaskKind,
        number: int,
        sites: tuple[str, ...],
        wanted: ReplyKind,
        parts: tuple[str, ...] = (),
        body: bytes = b"",
        *,
        ring: tuple[str, ...] = (),
        need: int | None = None,
        enough: int | None = None,
        lengths: dict[str, int] | None = None,
    ) -> dict[str, bytes]:
        """Ask as `_ask` does, and demand enough good replies.

        Args:
            need: how many; the job's `min_sites` unless given.
            enough: with how many the rest is late; unless given all where sites form groups, which a single late site
                can end, and `need` otherwise.

        Raises:
            FederationError: there were fewer.
        """
        least = self.envelope.spec.min_sites if need is None else need
        header = TaskHeader(kind=kind, round=number, contributors=parts, ring=ring, consents={})
        if enough is None and self.envelope.spec.grouping is not None:
            enough = len(sites)
        good = self._ask(header, body, sites, wanted, least, lengths or {}, enough)
        if len(good) < least:
            what = kind if number == 0 or kind == "release" else f"round {number}, {kind}"
            raise FederationError(f"{what}: {len(good)} of at least {least} sites answered; the job ends here")
        return good

    def _report(self, phase: str, number: int, done: int = 0) -> None:
        """Tell how far the job is."""
        rounds = self.envelope.spec.rounds
        self.tell({"phase": phase, "round": number, "rounds": rounds, "done": done, "sites": list(self._sites)})
        logger.info("%s %d of %d: %s", phase, number, rounds, ", ".join(self._sites))
