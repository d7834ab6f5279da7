"""What is signed in the exchange of ledger heads, and how it is checked; the same at sites and server."""

from hashlib import sha256

from almoner.errors import ProtocolError
from almoner.flare.evidence.log_messages import LOG_INTRODUCTION_BYTES, LogIntroduction
from almoner.flare.job.consent import CONSENT_BYTES
from almoner.privacy.heads import HEAD_BYTES, SignedHead, head_statement, unpack_heads
from almoner.privacy.ledger import Ledger
from almoner.protection.signing import SIGNATURE_BYTES, sign, verify_signed
from almoner.schema.base import canonical_json
from almoner.schema.consortium import Roster


def introduction_bytes(num_sites: int) -> int:
    """Return the length of a set-up answer: consent, one held head a site, what it says of the log, signature."""
    return CONSENT_BYTES + HEAD_BYTES * num_sites + LOG_INTRODUCTION_BYTES + SIGNATURE_BYTES


def introduction_statement(site: str, envelope_digest: str, job_id: str, content: bytes) -> bytes:
    """Return what a site signs about its set-up answer, bound to the job."""
    bound = {"site": site, "envelope": envelope_digest, "job": job_id, "content": content.hex()}
    return canonical_json({"almoner": "introduction-v1", **bound})


def read_introduction(
    introduction: bytes, roster: Roster, site: str, envelope_digest: str, job_id: str, sites: tuple[str, ...]
) -> dict[str, SignedHead]:
    """Check a site's set-up answer; return the heads that it holds.

    Raises:
        ProtocolError: it is malformed, or not signed by the site for this job.
    """
    read_log_introduction(introduction)
    content, signature = introduction[:-SIGNATURE_BYTES], introduction[-SIGNATURE_BYTES:]
    statement = introduction_statement(site, envelope_digest, job_id, content)
    verify_signed(signature, statement, roster, site, "introduction")
    return unpack_heads(sites, content[CONSENT_BYTES:-LOG_INTRODUCTION_BYTES])


def read_log_introduction(introduction: bytes) -> LogIntroduction:
    """Return what a set-up answer says of the server's log; who signed it is not checked.

    Raises:
        ProtocolError: it is malformed.
    """
    return LogIntroduction.from_bytes(introduction[:-SIGNATURE_BYTES][-LOG_INTRODUCTION_BYTES:])


def set_up_occasion(job_id: str, introductions: bytes) -> str:
    """Return for what heads are signed at set-up: the job, and everything that was shown to be held."""
    return sha256(b"almoner-set-up-1:" + job_id.encode() + b":" + introductions).hexdigest()


def result_occasion(job_id: str) -> str:
    """Return for what a head is signed that goes with a result."""
    return sha256(b"almoner-result-1:" + job_id.encode()).hexdigest()


def sign_head(ledger: Ledger, private_key_pem: bytes, occasion: str) -> SignedHead:
    """Sign a ledger's present head."""
    seq, entry_hash = ledger.head()
    signature = sign(private_key_pem, head_statement(ledger.site, seq, entry_hash, occasion))
    return SignedHead(seq, entry_hash, occasion, signature)


def verify_head(head: SignedHead, roster: Roster, site: str, occasion: str | None = None) -> None:
    """Check that a site signed a head.

    Args:
        occasion: for what it must have been signed; anything if not given.

    Raises:
        ProtocolError: it did not, or for something else.
    """
    statement = head_statement(site, head.seq, head.hash, head.occasion)
    verify_signed(head.signature, statement, roster, site, "ledger head")
    if occasion is not None and head.occasion != occasion:
        raise ProtocolError(f"the ledger head of {site} was signed for something else")


def verifies(head: SignedHead, roster: Roster, site: str) -> bool:
    """Tell whether a head is signed with the site's present certificate."""
    try:
        verify_head(head, roster, site)
    except ProtocolError:
        return False
    return True
