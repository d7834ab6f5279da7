"""Sites hold each other's ledger heads, and a job starts only on ledgers that contain every head that is held.

Three tasks before any data, whose answers are all of fixed length:

    setup    each site sends its consent, the heads that it holds of the others, and how far it knows the server's
             log, signed for this job
    heads    each site gets all of them, the head of the server's log (see `log_witness`), and the heads that the
             server holds. If its own ledger contains every head of its own among them, and the log is the one that
             it knows, it signs and sends its present head; else it answers nothing more
    cosign   each site gets the signed heads, keeps them in its own ledger, and cosigns the list

Every update and release carries its site's signed head, taken after the result was written into the ledger; the
server keeps it and shows it at the next job's set-up. So a copy from before any result that left is found.

*Guarantee*: a ledger that does not verify as a whole, or that lacks the entry of a head that its site once
signed and that another site of this job (or the server) still holds, never takes part: neither data nor
budget is touched. A head is signed for exactly what was shown to its signer, and sites cosign only heads that
were signed for what they were shown themselves: a ledger which was rolled back and grew again cannot replace
the head that convicts it with a holder of that head, nor can an old head be shown again. For the same reason all
sites of a job were shown the same head of the server's log.

What is left: a server that relays only sites who never met this one since, and that forgets what it holds
itself, hides the rollback; `min_sites` of the job's sites must have sent their heads. A site whose certificate
was issued anew starts anew: heads signed with the old one no longer count.

Mitigates: T-15, T-141.
"""

import logging

from almoner.errors import ProtocolError
from almoner.flare.evidence.head_statements import (
    introduction_bytes,
    introduction_statement,
    read_introduction,
    set_up_occasion,
    sign_head,
    verifies,
    verify_head,
)
from almoner.flare.evidence.log_witness import LogWitness
from almoner.flare.job.consent import sign_consent
from almoner.flare.job.job_context import JobContext
from almoner.privacy.heads import HEAD_BYTES, SignedHead, cosign_statement, pack_heads, unpack_heads, verify_contains
from almoner.protection.signing import sign

logger = logging.getLogger(__name__)

SERVER = "the server"


class HeadExchange:
    """One site's part of the exchange in one job; the methods in this order, each once."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._site, self._sites = context.site.policy.site, context.envelope.sites
        self._roster, self._occasion, self._log = context.site.roster, "", LogWitness(context)

    def introduce(self) -> bytes:
        """Return the set-up answer."""
        context, key = self._context, self._context.site.private_key()
        consent = sign_consent(
            key, self._site, context.envelope_digest, context.job_id, context.site.policy.release_final_model
        )
        with context.site.ledger() as ledger:
            held, log = ledger.held_heads(), self._log.introduce(ledger)
        shown = {site: head for site, head in held.items() if verifies(head, self._roster, site)}
        content = consent + pack_heads(self._sites, shown) + log
        statement = introduction_statement(self._site, context.envelope_digest, context.job_id, content)
        return content + sign(key, statement)

    def prove(self, contributors: tuple[str, ...], body: bytes) -> bytes:
        """Check the log, and the own ledger against every head that is held of it; return its present head, signed.

        Raises:
            ProtocolError: the message is malformed, of too few sites, or not signed by them.
            EvidenceError: the server's log is not the one that this site knows, or lacks its decision.
            LedgerError: the ledger does not verify, or does not contain a head that is held.
        """
        self._check_contributors(contributors)
        held, log = self._read_introductions(contributors, body)
        self._log.accept(log)
        occasion = set_up_occasion(self._context.job_id, body)
        with self._context.site.ledger() as ledger:
            ledger.verify()
            for holder, head in held:
                if verifies(head, self._roster, self._site):
                    verify_contains(ledger.hash_at(head.seq), head, holder)
                else:  # others could stop this site with inventions
                    logger.warning("%s holds a head that this site never signed with its present key", holder)
            signed = sign_head(ledger, self._context.site.private_key(), occasion)
        self._occasion = occasion
        self._log.expect(signed)
        return signed.to_bytes()

    def cosign(self, contributors: tuple[str, ...], body: bytes) -> bytes:
        """Keep the heads of the others, and sign that they are kept.

        Raises:
            ProtocolError: the message is malformed, of too few sites, or a head was not signed by its site for
                what this site was shown.
        """
        self._check_contributors(contributors)
        heads = unpack_heads(contributors, body)
        for site in contributors:
            if site not in heads:
                raise ProtocolError(f"no head of {site}")
            verify_head(heads[site], self._roster, site, self._occasion)
        others = {site: head for site, head in heads.items() if site != self._site}
        job_id = self._context.job_id
        with self._context.site.ledger() as ledger:
            held = ledger.held_heads()
            stale = frozenset(site for site, head in held.items() if not verifies(head, self._roster, site))
            ledger.hold_heads(job_id, others, stale)
        return sign(self._context.site.private_key(), cosign_statement(self._site, job_id, heads))

    def cosign_log(self, body: bytes) -> bytes:
        """Check the log at the job's end, and cosign its head.

        Raises:
            ProtocolError: the message is malformed.
            EvidenceError: the log does not extend what this site knows of it, or lacks its decision or ledger head.
        """
        return self._log.cosign(body)

    def _check_contributors(self, contributors: tuple[str, ...]) -> None:
        """Refuse a list that is not of enough sites of the job, in order, this one among them."""
        order = tuple(site for site in self._sites if site in contributors)
        if contributors != order or self._site not in order or len(order) < self._context.envelope.spec.min_sites:
            raise ProtocolError("heads of too few sites, or not of this job's")

    def _read_introductions(
        self, contributors: tuple[str, ...], body: bytes
    ) -> tuple[list[tuple[str, SignedHead]], bytes]:
        """Return who holds which head of this site, the server last; and what is shown of the log."""
        context, size = self._context, introduction_bytes(len(self._sites))
        held: list[tuple[str, SignedHead]] = []
        for index, site in enumerate(contributors):
            introduction = body[size * index : size * (index + 1)]
            heads = read_introduction(
                introduction, self._roster, site, context.envelope_digest, context.job_id, self._sites
            )
            held += [(site, heads[self._site])] if self._site in heads else []
        rest, num_bytes = body[size * len(contributors) :], HEAD_BYTES * len(self._sites)
        heads = unpack_heads(self._sites, rest[-num_bytes:])
        return held + ([(SERVER, heads[self._site])] if self._site in heads else []), rest[:-num_bytes]
