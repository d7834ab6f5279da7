"""Which answers count at the server: of the round, of their kind's length, and signed where they have to be."""

import logging
from dataclasses import dataclass, field

from almoner.errors import ProtocolError
from almoner.flare.head_statements import introduction_bytes, read_introduction, result_occasion, verify_head
from almoner.flare.held_heads import ServerHeads
from almoner.flare.wire import CHARGED, Reply, ReplyKind
from almoner.privacy.heads import HEAD_BYTES, SignedHead, unpack_heads
from almoner.protection.signing import SIGNATURE_BYTES
from almoner.release.accuracy import RELEASE_BYTES
from almoner.schema.base import digest
from almoner.schema.envelope import JobEnvelope

logger = logging.getLogger(__name__)


@dataclass
class ReplyChecks:
    """Judges the replies of one job. A bad one counts as none: one member cannot stop the others.

    Args:
        occasion: for what the heads of the set-up must be signed; known once the introductions are there.
    """

    envelope: JobEnvelope
    job_id: str
    heads: ServerHeads
    occasion: str = field(default="", init=False)

    def good(
        self, replies: dict[str, Reply], wanted: ReplyKind, number: int, lengths: dict[str, int]
    ) -> dict[str, bytes]:
        """Return the bodies of the good replies in roster order, without heads; the heads are kept.

        Args:
            lengths: by site, of replies whose length the job decides; other kinds have one length.
        """
        found: dict[str, bytes] = {}
        for site in self.envelope.sites:
            reply = replies.get(site)
            if reply is None or not self.looks_good(reply, wanted, number, lengths.get(site)):
                continue
            try:
                self._verify(site, reply)
            except ProtocolError as error:
                logger.warning("answer of %s dropped: %s", site, error)
                continue
            found[site] = reply.body
        return self._without_heads(found) if wanted in CHARGED else found

    def looks_good(self, reply: Reply, wanted: ReplyKind, number: int, length: int | None) -> bool:
        """Tell whether a reply is of its kind, its round and its length; what it is signed with is not looked at."""
        return reply.kind is wanted and reply.round == number and len(reply.body) == self._length(wanted, length)

    def _length(self, kind: ReplyKind, protected: int | None) -> int | None:
        """Return the one length of a reply; None for one that should not be there at all."""
        fixed = {
            ReplyKind.SETUP: introduction_bytes(len(self.envelope.sites)),
            ReplyKind.HEAD: HEAD_BYTES,
            ReplyKind.COSIGNATURE: SIGNATURE_BYTES,
            ReplyKind.RELEASE: RELEASE_BYTES + HEAD_BYTES,
        }
        if kind in fixed:
            return fixed[kind]
        return None if protected is None else protected + HEAD_BYTES * (kind in CHARGED)

    def _verify(self, site: str, reply: Reply) -> None:
        """Check what a reply has to be signed with; the protection checks its own.

        Raises:
            ProtocolError: it is not.
        """
        roster = self.heads.roster
        if reply.kind is ReplyKind.SETUP:
            read_introduction(reply.body, roster, site, digest(self.envelope), self.job_id, self.envelope.sites)
        elif reply.kind is ReplyKind.HEAD or reply.kind in CHARGED:
            head = SignedHead.from_bytes(reply.body[-HEAD_BYTES:])
            if head is None:
                raise ProtocolError("no ledger head")
            occasion = self.occasion if reply.kind is ReplyKind.HEAD else result_occasion(self.job_id)
            verify_head(head, roster, site, occasion)

    def _without_heads(self, bodies: dict[str, bytes]) -> dict[str, bytes]:
        """Keep the heads that came with results; return the results alone."""
        slots = b"".join(body[-HEAD_BYTES:] for body in bodies.values())
        self.heads.keep(unpack_heads(tuple(bodies), slots))
        return {site: body[:-HEAD_BYTES] for site, body in bodies.items()}
