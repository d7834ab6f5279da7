"""A site's signed word on whether the final model of a job may be released to the submitter."""

from almoner.errors import ProtocolError
from almoner.protection.signing import SIGNATURE_BYTES, sign, verify_signed
from almoner.schema.base import canonical_json
from almoner.schema.consortium import Roster

CONSENT_BYTES = 1 + SIGNATURE_BYTES
"""One byte for yes or no, then the signature: the same length for either answer."""


def _statement(site: str, envelope_digest: str, job_id: str, consents: bool) -> bytes:
    """Return what is signed: the answer, bound to site, envelope and job."""
    return canonical_json(
        {"almoner": "consent-v1", "site": site, "envelope": envelope_digest, "job": job_id, "consents": consents}
    )


def sign_consent(private_key_pem: bytes, site: str, envelope_digest: str, job_id: str, consents: bool) -> bytes:
    """Sign a site's answer with its kit's key."""
    return bytes([consents]) + sign(private_key_pem, _statement(site, envelope_digest, job_id, consents))


def verify_consent(answer: bytes, roster: Roster, site: str, envelope_digest: str, job_id: str) -> None:
    """Check that a site of the roster signed "yes" for this job.

    Raises:
        ProtocolError: the answer is no, malformed, or not signed by that site's certificate.
    """
    if roster.entry(site) is None or len(answer) != CONSENT_BYTES or answer[0] != 1:
        raise ProtocolError(f"{site} does not consent to the model's release")
    verify_signed(answer[1:], _statement(site, envelope_digest, job_id, True), roster, site, "consent")
