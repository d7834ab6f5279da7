"""A site's signed word on whether the final model of a job may be released to the submitter."""

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from almoner.errors import ProtocolError
from almoner.schema.base import canonical_json
from almoner.schema.consortium import Roster

_PADDING = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
CONSENT_BYTES = 1 + 256
"""One byte for yes or no, then an RSA-2048 signature: the same length for either answer."""


def _statement(site: str, envelope_digest: str, job_id: str, consents: bool) -> bytes:
    """Return what is signed: the answer, bound to site, envelope and job."""
    return canonical_json(
        {"almoner": "consent-v1", "site": site, "envelope": envelope_digest, "job": job_id, "consents": consents}
    )


def sign_consent(private_key_pem: bytes, site: str, envelope_digest: str, job_id: str, consents: bool) -> bytes:
    """Sign a site's answer with its kit's key."""
    key = serialization.load_pem_private_key(private_key_pem, password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ProtocolError("the kit's key is not an RSA key")
    signature = key.sign(_statement(site, envelope_digest, job_id, consents), _PADDING, hashes.SHA256())
    return bytes([consents]) + signature


def verify_consent(answer: bytes, roster: Roster, site: str, envelope_digest: str, job_id: str) -> None:
    """Check that a site of the roster signed "yes" for this job.

    Raises:
        ProtocolError: the answer is no, malformed, or not signed by that site's certificate.
    """
    entry = roster.entry(site)
    if entry is None or len(answer) != CONSENT_BYTES or answer[0] != 1:
        raise ProtocolError(f"{site} does not consent to the model's release")
    key = x509.load_pem_x509_certificate(entry.certificate_pem.encode()).public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise ProtocolError(f"the roster's certificate of {site} is not an RSA certificate")
    try:
        key.verify(answer[1:], _statement(site, envelope_digest, job_id, True), _PADDING, hashes.SHA256())
    except InvalidSignature:
        raise ProtocolError(f"the consent of {site} is not signed by it") from None
