"""Sites hold each other's ledger heads, and a job starts only on ledgers that contain every head that is held.

Three tasks before any data, all of fixed length:

    setup    each site sends its consent and the heads that it holds of the others, signed for this job
    heads    each site gets all of them, and those that the server holds. If its own ledger contains every
             head of its own among them, it signs and sends its present head; else it answers nothing more
    cosign   each site gets the signed heads, keeps them in its own ledger, and cosigns the list

*Guarantee*: a ledger that does not verify as a whole, or that lacks the entry of a head that its site once
signed and that another site of this job (or the server) still holds, never takes part: neither data nor
budget is touched. The present head is signed only after the check, so that a ledger which was rolled back
and grew again cannot replace the head that convicts it.

What is left: a server that relays only sites who never met this one since (or replays nothing at all to it)
hides the rollback; `min_sites` of the job's sites must have sent their heads.

Mitigates: T-15.
"""

import logging
from dataclasses import dataclass

from almoner.errors import ProtocolError
from almoner.flare.consent import CONSENT_BYTES, sign_consent
from almoner.flare.job_context import JobContext
from almoner.flare.signing import SIGNATURE_BYTES, sign, verify_signed
from almoner.privacy.heads import (
    HEAD_BYTES,
    SignedHead,
    head_statement,
    pack_heads,
    unpack_heads,
    verify_contains,
)
from almoner.schema.base import canonical_json
from almoner.schema.consortium import Roster

logger = logging.getLogger(__name__)

SERVER = "the server"


def introduction_bytes(num_sites: int) -> int:
    """Return the length of a set-up answer: consent, one held head a site, signature."""
    return CONSENT_BYTES + HEAD_BYTES * num_sites + SIGNATURE_BYTES


def _introduction_statement(site: str, envelope_digest: str, job_id: str, content: bytes) -> bytes:
    """Return what a site signs about its set-up answer, bound to the job."""
    return canonical_json(
        {
            "almoner": "introduction-v1",
            "site": site,
            "envelope": envelope_digest,
            "job": job_id,
            "content": content.hex(),
        }
    )


def _cosign_statement(site: str, job_id: str, heads: dict[str, SignedHead]) -> bytes:
    """Return what a site signs about the heads that it keeps from now on."""
    listed = {name: [head.seq, head.hash] for name, head in heads.items()}
    return canonical_json({"almoner": "cosign-v1", "site": site, "job": job_id, "heads": listed})


def verify_head(head: SignedHead, roster: Roster, site: str) -> None:
    """Check that a site signed a head.

    Raises:
        ProtocolError: it did not.
    """
    verify_signed(head.signature, head_statement(site, head.seq, head.hash), roster, site, "ledger head")


@dataclass(frozen=True)
class HeadExchange:
    """One site's part of the exchange in one job."""

    context: JobContext

    @property
    def _site(self) -> str:
        return self.context.site.policy.site

    @property
    def _sites(self) -> tuple[str, ...]:
        return self.context.envelope.sites

    def introduce(self) -> bytes:
        """Return the set-up answer."""
        context, key = self.context, self.context.site.private_key()
        consent = sign_consent(
            key, self._site, context.envelope_digest, context.job_id, context.site.policy.release_final_model
        )
        with context.site.ledger() as ledger:
            held = ledger.held_heads()
        content = consent + pack_heads(self._sites, held)
        statement = _introduction_statement(self._site, context.envelope_digest, context.job_id, content)
        return content + sign(key, statement)

    def prove(self, contributors: tuple[str, ...], body: bytes) -> bytes:
        """Check the own ledger against every head that is held of it; return its present head, signed.

        Raises:
            ProtocolError: the message is malformed, of too few sites, or not signed by them.
            LedgerError: the ledger does not verify, or does not contain a head that is held.
        """
        self._check_contributors(contributors)
        held = self._read_introductions(contributors, body)
        with self.context.site.ledger() as ledger:
            ledger.verify()
            for holder, head in held:
                if self._is_own(head, holder):
                    verify_contains(ledger.hash_at(head.seq), head, holder)
            seq, entry_hash = ledger.head()
        signature = sign(self.context.site.private_key(), head_statement(self._site, seq, entry_hash))
        return SignedHead(seq, entry_hash, signature).to_bytes()

    def cosign(self, contributors: tuple[str, ...], body: bytes) -> bytes:
        """Keep the heads of the others, and sign that they are kept.

        Raises:
            ProtocolError: the message is malformed, of too few sites, or a head is not signed by its site.
        """
        self._check_contributors(contributors)
        heads = unpack_heads(contributors, body)
        for site in contributors:
            if site not in heads:
                raise ProtocolError(f"no head of {site}")
            verify_head(heads[site], self.context.site.roster, site)
        others = {site: head for site, head in heads.items() if site != self._site}
        with self.context.site.ledger() as ledger:
            ledger.hold_heads(self.context.job_id, others)
        return sign(self.context.site.private_key(), _cosign_statement(self._site, self.context.job_id, heads))

    def _check_contributors(self, contributors: tuple[str, ...]) -> None:
        """Refuse a list that is not of enough sites of the job, in order, this one among them."""
        order = tuple(site for site in self._sites if site in contributors)
        if contributors != order or self._site not in order or len(order) < self.context.envelope.spec.min_sites:
            raise ProtocolError("heads of too few sites, or not of this job's")

    def _read_introductions(self, contributors: tuple[str, ...], body: bytes) -> list[tuple[str, SignedHead]]:
        """Return who holds which head of this site; the last to hold one is the server."""
        context, size = self.context, introduction_bytes(len(self._sites))
        end = size * len(contributors)
        held = []
        for index, site in enumerate(contributors):
            introduction = body[size * index : size * (index + 1)]
            content, signature = introduction[:-SIGNATURE_BYTES], introduction[-SIGNATURE_BYTES:]
            statement = _introduction_statement(site, context.envelope_digest, context.job_id, content)
            verify_signed(signature, statement, context.site.roster, site, "introduction")
            heads = unpack_heads(self._sites, content[CONSENT_BYTES:])
            held += [(site, heads[self._site])] if self._site in heads else []
        heads = unpack_heads(self._sites, body[end:])
        return held + ([(SERVER, heads[self._site])] if self._site in heads else [])

    def _is_own(self, head: SignedHead, holder: str) -> bool:
        """Tell whether this site did sign a head that is held against it; others could stop it with inventions."""
        try:
            verify_head(head, self.context.site.roster, self._site)
        except ProtocolError:
            logger.warning("%s holds a head that this site never signed", holder)
            return False
        return True
