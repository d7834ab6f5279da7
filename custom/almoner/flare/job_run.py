"""The phases of one job at the server: set-up, ledger heads, rounds, release, model.

The server holds no model and no key. It relays each round's total; the sites open it and take the step.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from almoner.encryption.scheme import ProtectionScheme
from almoner.errors import FederationError, ProtocolError
from almoner.flare.consent import CONSENT_BYTES
from almoner.flare.head_statements import (
    introduction_bytes,
    read_introduction,
    result_occasion,
    set_up_occasion,
    verify_head,
)
from almoner.flare.held_heads import ServerHeads
from almoner.flare.job_result import JobResult, RoundRecord
from almoner.flare.wire import Reply, ReplyKind, TaskHeader, TaskKind
from almoner.privacy.heads import HEAD_BYTES, SignedHead, pack_heads, unpack_heads
from almoner.protection.signing import SIGNATURE_BYTES
from almoner.release.accuracy import RELEASE_BYTES
from almoner.schema.base import digest
from almoner.schema.job import JobEnvelope

logger = logging.getLogger(__name__)

Ask = Callable[[TaskHeader, bytes, tuple[str, ...], int], dict[str, Reply]]
"""Sends a task to sites and returns what they answer by site; waits for at least so many good answers."""


@dataclass
class JobRun:
    """One job as the server sees it.

    A site whose answer is malformed, or not signed as it should be, counts as one that did not answer: one member
    cannot stop the others.

    Args:
        job_id: FLARE's.
        scheme: the server's side of the protection: it adds.
        dimension: number of the model's parameters.
        ask: how sites are asked.
        tell: takes each change of the progress.
        heads: the ledger heads that the server holds.
    """

    envelope: JobEnvelope
    job_id: str
    scheme: ProtectionScheme
    dimension: int
    ask: Ask
    tell: Callable[[dict[str, Any]], None]
    heads: ServerHeads
    _total: bytes = field(default=b"", init=False)
    _contributors: tuple[str, ...] = field(default=(), init=False)
    _occasion: str = field(default="", init=False)

    def run(self, running: tuple[str, ...]) -> JobResult:
        """Carry out all phases.

        Args:
            running: the sites on which FLARE has started the job.

        Raises:
            FederationError: fewer than `min_sites` took part in a phase, or the job was aborted.
        """
        spec, result = self.envelope.spec, JobResult(job=self.envelope.spec.name)
        introductions = self._set_up(running)
        consents = {site: data[:CONSENT_BYTES] for site, data in introductions.items()}
        sites = self._exchange_heads(introductions, result)
        for number in range(1, spec.rounds + 1):
            self._report("train", number, sites, done=number - 1)
            replies = self._take_heads(self._gather("train", number, sites, ReplyKind.UPDATE))
            self._total = self.scheme.combine([reply.body for reply in replies.values()])
            sites = self._contributors = tuple(replies)
            result.rounds.append(RoundRecord(round=number, contributors=sites))
            self._report("train", number, sites, done=number)
        if spec.releases:
            self._report("release", spec.rounds + 1, sites, done=spec.rounds)
            replies = self._take_heads(self._gather("release", spec.rounds + 1, sites, ReplyKind.RELEASE))
            result.releases = {site: reply.body.hex() for site, reply in replies.items()}
            sites, self._total, self._contributors = tuple(replies), b"", ()
        self._report("model", spec.rounds + 1, sites, done=spec.rounds)
        result.model = self._fetch_model(sites, consents, result)
        return result

    def _set_up(self, running: tuple[str, ...]) -> dict[str, bytes]:
        """Collect the sites' introductions, in roster order; who answers takes part."""
        sites = tuple(site for site in self.envelope.sites if site in running)
        self._report("setup", 0, sites)
        return {site: reply.body for site, reply in self._gather("setup", 0, sites, ReplyKind.SETUP).items()}

    def _exchange_heads(self, introductions: dict[str, bytes], result: JobResult) -> tuple[str, ...]:
        """Have each site prove its ledger and keep the others' heads; return the sites that did."""
        sites = self.envelope.sites
        body = b"".join(introductions.values()) + pack_heads(sites, self.heads.held())
        self._occasion = set_up_occasion(self.job_id, body)
        proofs = self._gather("heads", 0, tuple(introductions), ReplyKind.HEAD, tuple(introductions), body)
        proven = tuple(proofs)
        body = b"".join(reply.body for reply in proofs.values())
        cosigned = self._gather("cosign", 0, proven, ReplyKind.COSIGNATURE, proven, body)
        heads = unpack_heads(proven, body)
        self.heads.keep(heads)
        result.heads = {site: head.to_json() for site, head in heads.items()}
        result.cosignatures = {site: reply.body.hex() for site, reply in cosigned.items()}
        return tuple(cosigned)

    def _fetch_model(self, sites: tuple[str, ...], consents: dict[str, bytes], result: JobResult) -> list[float] | None:
        """Ask one site for the model, the first of the roster, if every site that contributed consents."""
        contributors = [site for site in consents if result.has(site) or not result.rounds]
        if any(consents[site][:1] != b"\x01" for site in contributors):
            logger.info("not all sites let the model go")
            return None
        header = TaskHeader(
            kind="model",
            round=self.envelope.spec.rounds + 1,
            contributors=self._contributors,
            consents={site: consents[site].hex() for site in contributors},
        )
        for giver in sites:
            reply = self.ask(header, self._total, (giver,), 1).get(giver)
            if reply is not None and reply.kind is ReplyKind.MODEL:
                return JobResult.weights_of(reply.body, self.dimension)
        logger.warning("no site gave the model")
        return None

    def _gather(
        self,
        kind: TaskKind,
        number: int,
        sites: tuple[str, ...],
        wanted: ReplyKind,
        contributors: tuple[str, ...] | None = None,
        body: bytes | None = None,
    ) -> dict[str, Reply]:
        """Ask sites for one kind of reply; return the good ones in roster order.

        Without a body of its own, the task carries the last total and whose updates are in it.

        Raises:
            FederationError: fewer than `min_sites` gave one.
        """
        need = self.envelope.spec.min_sites
        parts = self._contributors if contributors is None else contributors
        header = TaskHeader(kind=kind, round=number, contributors=parts, consents={})
        replies = self.ask(header, self._total if body is None else body, sites, need) if len(sites) >= need else {}
        good = {
            site: replies[site]
            for site in self.envelope.sites
            if site in replies and replies[site].kind is wanted and self._is_good(site, replies[site], number)
        }
        if len(good) < need:
            what = f"round {number}" if kind == "train" else kind
            raise FederationError(f"{what}: {len(good)} of at least {need} sites answered; the job ends here")
        return good

    def _is_good(self, site: str, reply: Reply, number: int) -> bool:
        """Tell whether a reply is of this round, of the length that its kind has, and signed where it should be."""
        lengths = {
            ReplyKind.SETUP: introduction_bytes(len(self.envelope.sites)),
            ReplyKind.HEAD: HEAD_BYTES,
            ReplyKind.COSIGNATURE: SIGNATURE_BYTES,
            ReplyKind.UPDATE: self.scheme.message_bytes + HEAD_BYTES,
            ReplyKind.RELEASE: RELEASE_BYTES + HEAD_BYTES,
        }
        if len(reply.body) != lengths.get(reply.kind, len(reply.body)) or reply.round != number:
            return False
        try:
            self._verify(site, reply)
        except ProtocolError as error:
            logger.warning("answer of %s dropped: %s", site, error)
            return False
        return True

    def _verify(self, site: str, reply: Reply) -> None:
        """Check what a reply has to be signed with.

        Raises:
            ProtocolError: it is not.
        """
        roster = self.heads.roster
        if reply.kind is ReplyKind.SETUP:
            read_introduction(reply.body, roster, site, digest(self.envelope), self.job_id, self.envelope.sites)
        elif reply.kind in (ReplyKind.HEAD, ReplyKind.UPDATE, ReplyKind.RELEASE):
            head = SignedHead.from_bytes(reply.body[-HEAD_BYTES:])
            if head is None:
                raise ProtocolError("no ledger head")
            set_up = reply.kind is ReplyKind.HEAD
            verify_head(head, roster, site, self._occasion if set_up else result_occasion(self.job_id))

    def _take_heads(self, replies: dict[str, Reply]) -> dict[str, Reply]:
        """Keep the heads that came with results; return the replies without them."""
        slots = b"".join(reply.body[-HEAD_BYTES:] for reply in replies.values())
        self.heads.keep(unpack_heads(tuple(replies), slots))
        return {site: reply.model_copy(update={"body": reply.body[:-HEAD_BYTES]}) for site, reply in replies.items()}

    def _report(self, phase: str, number: int, sites: tuple[str, ...], done: int = 0) -> None:
        """Tell how far the job is."""
        rounds = self.envelope.spec.rounds
        self.tell({"phase": phase, "round": number, "rounds": rounds, "done": done, "sites": list(sites)})
        logger.info("%s %d of %d: %s", phase, number, rounds, ", ".join(sites))
