"""What commitments, signatures and tags cost within secret sharing, which has no mode without them.

Of each round the work that they take is done once more, on the very messages of the round and by the protocol's own
functions, and timed: by a site, the tag of its values, the commitment and its signature, the check of the roll, and
the tag and root of the sum; by the server, reading and checking each contribution, the roll and its root. What is left
of the measured round is secret sharing alone. The protocol is never run without them.

All of it is done from public messages by an `Audit`, which holds no key of the job: signature and tag are made with
keys drawn here, as they take the same time under any.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_bytes
from typing import Any

from almoner.experiments.pipeline.driven import processor_seconds
from almoner.experiments.pipeline.trial_consortium import TrialConsortium
from almoner.protection.message import HEADER_BYTES
from almoner.protection.scheme import Answers, IntVector, Question, RoundTotal, Task
from almoner.protection.set_up import DIGEST_BYTES, ED25519_BYTES, KEY_BYTES, JobKeys, JobTerms
from almoner.secagg.audit import Audit
from almoner.secagg.blocks import blocks
from almoner.secagg.contribution import ENTRY_BYTES, make_roll, read_roll
from almoner.secagg.merkle import ROOT_BYTES
from almoner.secagg.session import Session
from almoner.secagg.tag import TAG_BYTES, RoundTag


@dataclass(frozen=True)
class RoundShare:
    """What commitments, signatures and tags took of one round.

    Args:
        site_seconds, server_seconds: of processor time; of one site, and of the server.
        sent_bytes, received_bytes: of one site.
    """

    site_seconds: float
    server_seconds: float
    sent_bytes: int
    received_bytes: int


class CommitmentMeter:
    """Audits a job of secret sharing without groups, and times what its commitments take.

    Args:
        terms: of the job.
        consortium: of its sites.
    """

    def __init__(self, terms: JobTerms, consortium: TrialConsortium) -> None:
        self._audit = Audit(terms, consortium.roster, consortium.root_pem)
        self._keys, self._tag_key = JobKeys.generate(), token_bytes(KEY_BYTES)
        self._heard: dict[Task, tuple[Question, Answers]] = {}

    def listen(self, question: Question, answers: Answers) -> None:
        """Follow the job.

        Raises:
            ProtocolError: something is not what its site signed.
        """
        self._audit.follow(question, answers)
        self._heard[question.task] = question, answers

    def end_round(self, total: RoundTotal, values: IntVector, opened: IntVector) -> RoundShare:
        """Return what a round's commitments took.

        Args:
            total: of the round.
            values: of the site that stands for all: the first contributor.
            opened: the sum, int64[d].

        Raises:
            ProtocolError: the total is not of what the sites signed.
        """
        announced, messages = self._heard["train"]
        roll, _ = self._heard["acknowledge"]
        share = RoundShare(
            self._site_seconds(roll, messages[roll.contributors[0]], values, opened),
            self._server_seconds(messages),
            TAG_BYTES + ED25519_BYTES,
            len(roll.contributors) * ENTRY_BYTES + TAG_BYTES + ROOT_BYTES,
        )
        self._audit.end_round(announced.number, total)
        return share

    def _site_seconds(self, roll: Question, message: bytes, values: IntVector, opened: IntVector) -> float:
        """Time one site's part."""
        session, sites = self._audit.session, roll.contributors
        committed = memoryview(message)[HEADER_BYTES:-ED25519_BYTES]
        parts: tuple[Callable[[], Any], ...] = (
            lambda: self._tag(session, roll.number, values, sites[:1]),
            lambda: sha256(committed).digest(),
            lambda: self._keys.sign(bytes(DIGEST_BYTES)),
            lambda: read_roll(session, self._audit.ring, sites, roll.body).root,
            lambda: self._tag(session, roll.number, opened, sites),
        )
        return sum(processor_seconds(part)[1] for part in parts)

    def _server_seconds(self, messages: Answers) -> float:
        """Time the server's part."""

        def read_all() -> bytes:
            entries = {site: self._audit.contribution(site, message).entry for site, message in messages.items()}
            roll = make_roll(self._audit.session, self._audit.ring, entries)
            return roll.root + roll.root  # in the total, and beside it

        return processor_seconds(read_all)[1]

    def _tag(self, session: Session, number: int, values: IntVector, sites: tuple[str, ...]) -> int:
        """Make the tag of a sum over some sites, or of one site's values, with its pads."""
        tag = RoundTag(self._tag_key, session.transcript, number)
        running = tag.running(session.packing.tag_bound(len(sites)))
        for block in blocks(session.terms.dimension):
            running.add(values[block])
        return running.value() + sum(tag.pad(site) for site in sites)
