"""A site's part in the transparency log while a job runs: it checks the log before data is read, and cosigns it after.

    setup   the site says up to which size it knows the log, and by which signed decision it admitted the job
    heads   it is shown the log's head. It goes on only if that extends the head that it keeps, and has its decision;
            it keeps the new one. All sites of the job see the same head, or `cosign` fails: see `head_exchange`
    log     the same at the job's end, with the ledger head that the site signed at its start; then it cosigns the head

No answer depends on data: a size that the server itself signed, the digest of a signed decision, a signature.

Mitigates: T-140, T-141.
"""

import json

from almoner.audit.authority import Root
from almoner.audit.log_entries import Fact
from almoner.audit.log_shown import ShownLog, SiteProof, read_shown
from almoner.audit.tree_heads import SignedTreeHead
from almoner.audit.witness import Shown
from almoner.errors import EvidenceError, ProtocolError
from almoner.flare.evidence.audit_log import witness_of
from almoner.flare.evidence.log_messages import LogAnswer, LogIntroduction
from almoner.flare.job.job_context import JobContext
from almoner.flare.site.kit_files import read_server_name
from almoner.privacy.heads import SignedHead
from almoner.privacy.ledger import Ledger
from almoner.schema.base import digest


class LogWitness:
    """One site's view of the log in one job."""

    def __init__(self, context: JobContext) -> None:
        self._context, self._site = context, context.site.policy.site
        self._witness = witness_of(context.site.folder, self._site)
        self._held = self._witness.newest()
        self._facts: list[Fact] = []

    def introduce(self, ledger: Ledger) -> bytes:
        """Return what the set-up answer says about the log."""
        decision = admitting_decision(ledger, self._context.job_id)
        if decision:
            self._facts = [("decision", self._site, {"decision": decision, "verdict": "admitted"})]
        self._held = self._witness.newest()
        return LogIntroduction(_size(self._held), decision).to_bytes()

    def accept(self, body: bytes) -> None:
        """Check the head that is shown at set-up, and keep it.

        Raises:
            ProtocolError: none is shown to this site.
            EvidenceError: the server did not sign it, or it does not extend the one that is kept or lacks the decision.
        """
        shown, proof = self._read(body)
        self._witness.accept(self._verified(shown, proof), self._held, self._facts)

    def expect(self, head: SignedHead) -> None:
        """Remember a ledger head of this site that the log must have at the job's end."""
        self._facts = [*self._facts, ("head", self._site, head.to_json())]

    def cosign(self, body: bytes) -> bytes:
        """Check the head that is shown at the end, keep it, and cosign it.

        Returns:
            A `LogAnswer`; without a signature if another job of this site has moved the head that it keeps.

        Raises:
            ProtocolError, EvidenceError: as `accept`.
        """
        shown, proof = self._read(body)
        held = self._witness.newest()
        if proof.size != _size(held):
            return LogAnswer(_size(held), b"").to_bytes()
        key = self._context.site.private_key()
        signature = self._witness.cosign(self._verified(shown, proof), held, self._facts, key)
        return LogAnswer(shown.signed.head.size, bytes.fromhex(signature)).to_bytes()

    def _read(self, body: bytes) -> tuple[ShownLog, SiteProof]:
        """Read what is shown, and find this site's part."""
        shown = read_shown(body)
        if self._site not in shown.sites:
            raise ProtocolError("the server shows this site no proof of its log")
        return shown, shown.sites[self._site]

    def _verified(self, shown: ShownLog, proof: SiteProof) -> Shown:
        """Return the head and its proofs with the server's key, after checking whose key and log it is."""
        site = self._context.site
        root, name = Root(site.root_ca.read_bytes()), read_server_name(site.kit)
        server = root.party(shown.certificate.encode(), name, "log: the server's certificate")
        if shown.signed.head.log != server.key_id:
            raise EvidenceError("log: the head is of another server's log")
        consistency = tuple(bytes.fromhex(digest) for digest in proof.consistency)
        return Shown(shown.signed, server.key, consistency, proof.own, self._context.job_id)


def admitting_decision(ledger: Ledger, job_id: str) -> str:
    """Return the digest of the signed decision by which a site admitted a job; "" if its ledger has none."""
    for entry in reversed(ledger.entries()):
        if entry.kind == "decision":
            found = json.loads(entry.payload)
            if (found.get("job_id"), found.get("verdict")) == (job_id, "admitted"):
                return digest(found)
    return ""


def _size(head: SignedTreeHead | None) -> int:
    """Return the size of a head; 0 if there is none."""
    return 0 if head is None else head.head.size
