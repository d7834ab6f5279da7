"""The phases of one job at the server that all kinds of jobs have: set-up, ledger heads, keys; and how sites are asked.

The server holds no model and no key. It puts questions to the sites and relays what sites open.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from almoner.errors import FederationError
from almoner.flare.evidence.head_statements import read_log_introduction, set_up_occasion
from almoner.flare.evidence.held_heads import ServerHeads
from almoner.flare.evidence.log_cosigning import JobLog
from almoner.flare.job.answers import IsGood
from almoner.flare.job.wire import REPLY_TO, Reply, ReplyKind, TaskHeader, TaskKind
from almoner.flare.phases.replies import ReplyChecks
from almoner.flare.results.job_result import JobResult
from almoner.privacy.heads import pack_heads, unpack_heads
from almoner.protection.scheme import Conversation, Question, RoundTotal
from almoner.schema.envelope import JobEnvelope
from almoner.schema.job import JobSpec

logger = logging.getLogger(__name__)

Ask = Callable[[TaskHeader, bytes, tuple[str, ...], int, int, IsGood], dict[str, Reply]]
"""Sends a task to sites and returns what they answer by site; see `Answers` for the two numbers."""
Tell = Callable[[dict[str, Any]], None]
"""Takes each change of a job's progress."""
T = TypeVar("T")


WITHOUT_ROUNDS = ("release", "statistics")
"""Tasks that there is one of in a job."""


class JobRun(ABC):
    """One job as the server sees it.

    Args:
        job_id: FLARE's.
        ask: how sites are asked.
        tell: takes each change of the progress.
        heads: the ledger heads that the server holds.
    """

    num_rounds = 0

    def __init__(self, envelope: JobEnvelope, job_id: str, ask: Ask, tell: Tell, heads: ServerHeads) -> None:
        self.envelope, self.job_id, self.ask, self.tell, self.heads = envelope, job_id, ask, tell, heads
        self._last = RoundTotal((), b"")
        self._sites: tuple[str, ...] = ()
        self._checks = ReplyChecks(envelope, job_id, heads)
        self._log = JobLog(heads.log, heads.roster)
        self._proven: tuple[str, ...] = ()

    def run(self, running: tuple[str, ...]) -> JobResult:
        """Carry out all phases.

        Args:
            running: the sites on which FLARE has started the job.

        Raises:
            FederationError: too few sites took part in a phase, or the job was aborted.
        """
        result = JobResult(job=self.envelope.spec.name)
        introductions = self._set_up(running)
        self._exchange_heads(introductions, result)
        self._carry_out(introductions, result)
        result.vouchers = self._checks.vouchers
        voices = {site for own in result.vouchers.values() for site in own}
        roster = self.heads.roster.sites
        result.certificates = {entry.site: entry.certificate_pem for entry in roster if entry.site in voices}
        return result

    def cosign_log(self, result: JobResult) -> None:
        """Log what the job left, and have the sites cosign the log; a site that does not stops nobody.

        Raises:
            EvidenceError: the log is damaged.
            FederationError: the job was aborted.
        """
        self._log.close(result, self._proven)
        header = TaskHeader(kind="log", round=0, contributors=(), ring=(), consents={})
        for _ in range(2):  # again where another job has moved the head that a site keeps
            if sites := self._log.waiting:
                self._log.take(self._ask(header, self._log.ask(sites), sites, ReplyKind.LOG, 1, {}))
        self._log.keep()

    @abstractmethod
    def _carry_out(self, introductions: dict[str, bytes], result: JobResult) -> None:
        """Do what jobs of this kind do, with the sites that proved their ledgers."""

    def _set_up(self, running: tuple[str, ...]) -> dict[str, bytes]:
        """Collect the sites' introductions; who answers takes part."""
        self._sites = tuple(site for site in self.envelope.sites if site in running)
        self._report("setup", 0)
        return self._gather("setup", 0, self._sites, ReplyKind.SETUP)

    def _exchange_heads(self, introductions: dict[str, bytes], result: JobResult) -> None:
        """Show the log, have each site prove its ledger and keep the others' heads; the sites that did go on."""
        sites = self.envelope.sites
        log = self._log.open({site: read_log_introduction(data) for site, data in introductions.items()})
        body = b"".join(introductions.values()) + log + pack_heads(sites, self.heads.held())
        self._checks.occasion = set_up_occasion(self.job_id, body)
        proofs = self._gather("heads", 0, tuple(introductions), ReplyKind.HEAD, tuple(introductions), body)
        proven, body = tuple(proofs), b"".join(proofs.values())
        cosigned = self._gather("cosign", 0, proven, ReplyKind.COSIGNATURE, proven, body)
        heads = unpack_heads(proven, body)
        self.heads.keep(heads)
        result.heads = {site: head.to_json() for site, head in heads.items()}
        result.cosignatures = {site: reply.hex() for site, reply in cosigned.items()}
        self._sites = self._proven = tuple(cosigned)

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
            enough: with how many the rest is late; unless given `need`, or all where sites form groups: a single late
                one can end such a job.

        Raises:
            FederationError: there were fewer.
        """
        spec = self.envelope.spec
        least = spec.min_sites if need is None else need
        header = TaskHeader(kind=kind, round=number, contributors=parts, ring=ring, consents={})
        if enough is None and isinstance(spec, JobSpec) and spec.grouping is not None:
            enough = len(sites)
        good = self._ask(header, body, sites, wanted, least, lengths or {}, enough)
        if len(good) < least:
            what = kind if number == 0 or kind in WITHOUT_ROUNDS else f"round {number}, {kind}"
            raise FederationError(f"{what}: {len(good)} of at least {least} sites answered; the job ends here")
        return good

    def _report(self, phase: str, number: int, done: int = 0) -> None:
        """Tell how far the job is, and which job it is."""
        progress = {"phase": phase, "round": number, "rounds": self.num_rounds, "done": done}
        job = {"spec": self.envelope.spec.model_dump_json(), "num_sites": len(self.envelope.sites)}
        self.tell({**progress, "sites": list(self._sites), **job})
        logger.info("%s %d of %d: %s", phase, number, self.num_rounds, ", ".join(self._sites))
