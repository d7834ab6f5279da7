"""Which answers count at the server: of the round, of their kind's length, and signed where they have to be."""

import logging
from dataclasses import dataclass, field

from almoner.errors import ProtocolError
from almoner.flare.evidence.head_statements import introduction_bytes, read_introduction, result_occasion, verify_head
from almoner.flare.evidence.held_heads import ServerHeads
from almoner.flare.evidence.log_messages import LOG_ANSWER_BYTES
from almoner.flare.job.wire import CHARGED, VOUCHED, Reply, ReplyKind, attached_bytes
from almoner.privacy.heads import HEAD_BYTES, SignedHead, unpack_heads
from almoner.protection.signing import SIGNATURE_BYTES, verify_signed
from almoner.protection.vouchers import body_digest, voucher_statement
from almoner.release.accuracy import RELEASE_BYTES
from almoner.schema.base import digest
from almoner.schema.envelope import JobEnvelope

logger = logging.getLogger(__name__)


@dataclass
class ReplyChecks:
    """Judges the replies of one job. A bad one counts as none: one member cannot stop the others.

    Args:
        occasion: for what the heads of the set-up must be signed; known once the introductions are there.
        of_sites: whose numbers are in the total that is asked for; known once the round is over.
        vouchers: by kind of result and site, hexadecimal; filled with the replies.
    """

    envelope: JobEnvelope
    job_id: str
    heads: ServerHeads
    occasion: str = field(default="", init=False)
    of_sites: tuple[str, ...] = field(default=(), init=False)
    vouchers: dict[str, dict[str, str]] = field(default_factory=dict, init=False)

    def good(
        self, replies: dict[str, Reply], wanted: ReplyKind, number: int, lengths: dict[str, int]
    ) -> dict[str, bytes]:
        """Return the bodies of the good replies in roster order, without heads and vouchers, which are kept.

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
        return self._bare(wanted, found) if wanted in CHARGED or wanted in VOUCHED else found

    def drop_vouchers(self, kind: ReplyKind, given: dict[str, bytes], agreed: bytes | None) -> None:
        """Keep the vouchers of those alone who gave what counts."""
        own = self.vouchers.pop(VOUCHED[kind], {})
        if agreed is not None:
            self.vouchers[VOUCHED[kind]] = {site: own[site] for site in own if given[site] == agreed}

    def looks_good(self, reply: Reply, wanted: ReplyKind, number: int, length: int | None) -> bool:
        """Tell whether a reply is of its kind, its round and its length; what it is signed with is not looked at."""
        return reply.kind is wanted and reply.round == number and len(reply.body) == self._length(wanted, length)

    def _length(self, kind: ReplyKind, protected: int | None) -> int | None:
        """Return the one length of a reply; None for one that should not be there at all."""
        fixed = {
            ReplyKind.SETUP: introduction_bytes(len(self.envelope.sites)),
            ReplyKind.HEAD: HEAD_BYTES,
            ReplyKind.COSIGNATURE: SIGNATURE_BYTES,
            ReplyKind.LOG: LOG_ANSWER_BYTES,
            ReplyKind.RELEASE: RELEASE_BYTES + sum(attached_bytes(ReplyKind.RELEASE)),
        }
        if kind in fixed:
            return fixed[kind]
        return None if protected is None else protected + sum(attached_bytes(kind))

    def _verify(self, site: str, reply: Reply) -> None:
        """Check what a reply has to be signed with; the protection checks its own.

        Raises:
            ProtocolError: it is not.
        """
        roster = self.heads.roster
        if reply.kind is ReplyKind.SETUP:
            read_introduction(reply.body, roster, site, digest(self.envelope), self.job_id, self.envelope.sites)
        elif reply.kind is ReplyKind.HEAD or reply.kind in CHARGED:
            head = SignedHead.from_bytes(_parts(reply.kind, reply.body)[1])
            if head is None:
                raise ProtocolError("no ledger head")
            occasion = self.occasion if reply.kind is ReplyKind.HEAD else result_occasion(self.job_id)
            verify_head(head, roster, site, occasion)
        if reply.kind in VOUCHED:
            body, _, voucher = _parts(reply.kind, reply.body)
            kind, said = VOUCHED[reply.kind], (site, digest(self.envelope), self.job_id)
            of_sites = self.of_sites if reply.kind is ReplyKind.TOTAL else ()
            statement = voucher_statement(*said, kind, body_digest(body), of_sites)
            verify_signed(voucher, statement, roster, site, "voucher")

    def _bare(self, kind: ReplyKind, bodies: dict[str, bytes]) -> dict[str, bytes]:
        """Keep the heads and vouchers that came with results; return the results alone."""
        parts = {site: _parts(kind, body) for site, body in bodies.items()}
        if kind in CHARGED:
            self.heads.keep(unpack_heads(tuple(parts), b"".join(head for _, head, _ in parts.values())))
        if kind in VOUCHED:
            self.vouchers[VOUCHED[kind]] = {site: voucher.hex() for site, (_, _, voucher) in parts.items()}
        return {site: body for site, (body, _, _) in parts.items()}


def _parts(kind: ReplyKind, body: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a reply's own body, the ledger's head and the voucher, each b"" where the kind has none.

    The heads of set-up are their replies' own bodies.
    """
    if kind is ReplyKind.HEAD:
        return b"", body, b""
    head, voucher = attached_bytes(kind)
    end = len(body) - head - voucher
    return body[:end], body[end : end + head], body[end + head :]
