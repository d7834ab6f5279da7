"""Whose signature counts at a site: the one place where a user's or officer's certificate is checked.

Submissions, requests at the site, approvals and new draws of groups all come through `verify_user`.

Revocation bites from its day on. What is decided now asks as of now, also about a paper that says it was signed
before: whoever stole a key can date what he signs. A draw of groups that the site's ledger noted asks as of the
ledger's time, and stays good. Evidence packs ask nothing here (see `audit.authority`): a revocation does not undo what
was admitted before.
"""

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from almoner.errors import CertificateRefused, PolicyViolation
from almoner.schema.revocation import Revocations, revocation_of


@dataclass(frozen=True)
class Trust:
    """What a site judges certificates by: both are of its signed kit.

    Args:
        root_pem: the consortium's root certificate.
        revoked: what the consortium's floor and the site's policy revoke.
    """

    root_pem: bytes
    revoked: Revocations


@dataclass(frozen=True)
class User:
    """The holder of a certificate, as it says; `org` in FLARE's spelling, `role` "" if it is no user's."""

    name: str
    org: str
    role: str
    key: rsa.RSAPublicKey


def load_certificate(pem: bytes, source: str) -> x509.Certificate:
    """Read a certificate.

    Raises:
        PolicyViolation: it is none.
    """
    try:
        return x509.load_pem_x509_certificate(pem)
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise PolicyViolation(f"{source}: not a certificate → give the client.crt of a kit") from None


def subject_of(certificate: x509.Certificate) -> tuple[str, str, str]:
    """Return a user certificate's name, organisation and role, where FLARE puts them; "" if not there exactly once."""

    def text(oid: x509.ObjectIdentifier) -> str:
        found = certificate.subject.get_attributes_for_oid(oid)
        return str(found[0].value) if len(found) == 1 else ""

    return text(NameOID.COMMON_NAME), text(NameOID.ORGANIZATION_NAME), text(NameOID.UNSTRUCTURED_NAME)


def verify_user(pem: bytes, whose: str, trust: Trust, unix_seconds: float) -> User:
    """Check that a certificate counts at a time.

    *Guarantee*: on return the root itself issued the certificate, in the one encoding that it wrote; it was valid at
    that time, and not revoked.

    Args:
        whose: for the error's text.
        unix_seconds: as of when: now, for whatever is decided now.

    Raises:
        CertificateRefused: it does not count; in one line that owes nothing to data.
        PolicyViolation: it cannot be read.
    """
    certificate = load_certificate(pem, whose)
    try:
        certificate.verify_directly_issued_by(load_certificate(trust.root_pem, "the root certificate"))
    except (ValueError, TypeError, InvalidSignature):
        raise CertificateRefused(f"{whose} is not one of this consortium") from None
    begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    if not begins <= unix_seconds <= ends:
        raise CertificateRefused(f"{whose} is not valid now")
    verify_not_revoked(certificate, whose, trust.revoked, unix_seconds)
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise CertificateRefused(f"{whose} is not an RSA certificate")
    return User(*subject_of(certificate), key)


def verify_not_revoked(certificate: x509.Certificate, whose: str, revoked: Revocations, unix_seconds: float) -> None:
    """Check that no list names a certificate, and that it is in the encoding whose fingerprint a list would name.

    The count of unused bits before the signature is not signed. Whoever changes it, where the signature's last bits are
    0, has the same certificate under another fingerprint.

    Raises:
        CertificateRefused: it is revoked, or was encoded anew.
    """
    if certificate.public_bytes(Encoding.DER)[-len(certificate.signature) - 1] != 0:
        raise CertificateRefused(f"{whose} is not encoded as it was issued")
    name = certificate.fingerprint(hashes.SHA256()).hex()
    if found := revocation_of(revoked, name, unix_seconds):
        raise CertificateRefused(f"{whose} ({name[:16]}…) is revoked since {found.since.isoformat()}: {found.reason}")
