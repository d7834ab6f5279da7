"""Signs and checks a data officer's approval of a job. No file, no clock.

*Guarantee*: a paper that `verify_approval` accepts was signed by the holder of a certificate that the
consortium's root issued, to a user of the site's own organisation with a role that the site's policy names;
it is about this site and this job, and for no longer than the policy lets it be.

It does not protect against whoever holds the root key: that person can issue an officer's certificate.
"""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from almoner.errors import PolicyViolation
from almoner.protection.signing import sign_with, verify_with
from almoner.schema.approval import Approval, SignedApproval
from almoner.schema.base import canonical_json, org_code
from almoner.schema.policy import ManualApproval

DAY_SECONDS = 86_400
CLOCK_SKEW_SECONDS = 300
"""How far the officer's clock may be ahead of the site's."""


def _text(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    """Return one field of a certificate's subject, "" if it is not there exactly once."""
    found = certificate.subject.get_attributes_for_oid(oid)
    return str(found[0].value) if len(found) == 1 else ""


def officer_of(certificate: x509.Certificate) -> tuple[str, str, str]:
    """Return a user certificate's name, organisation and role, where FLARE puts them."""
    return (
        _text(certificate, NameOID.COMMON_NAME),
        _text(certificate, NameOID.ORGANIZATION_NAME),
        _text(certificate, NameOID.UNSTRUCTURED_NAME),
    )


def load_certificate(pem: bytes, source: str) -> x509.Certificate:
    """Read a certificate.

    Raises:
        PolicyViolation: it is none.
    """
    try:
        return x509.load_pem_x509_certificate(pem)
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise PolicyViolation(f"{source}: not a certificate → give the officer's client.crt") from None


def sign_approval(approval: Approval, key_pem: bytes, certificate_pem: bytes) -> SignedApproval:
    """Sign an approval with an officer's key.

    Raises:
        PolicyViolation: the key is no RSA key without a passphrase, or not the certificate's.
    """
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PolicyViolation("the officer's key cannot be read → give the client.key of the officer's kit") from None
    certificate = load_certificate(certificate_pem, "the officer's certificate")
    if not isinstance(key, rsa.RSAPrivateKey) or key.public_key() != certificate.public_key():
        raise PolicyViolation("the key is not that of the certificate → give both from the officer's kit")
    signature = sign_with(key, canonical_json(approval))
    return SignedApproval(
        schema_version=1, approval=approval, certificate_pem=certificate_pem.decode(), signature=signature.hex()
    )


def _check_officer(certificate: x509.Certificate, root: x509.Certificate, now_unix_seconds: float) -> None:
    """Check that the root issued the certificate, and that it is valid now."""
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        raise PolicyViolation("the officer's certificate is not one of this consortium") from None
    valid = certificate.not_valid_before_utc.timestamp() <= now_unix_seconds
    if not valid or certificate.not_valid_after_utc.timestamp() < now_unix_seconds:
        raise PolicyViolation("the officer's certificate is not valid now")


def verify_approval(
    paper: SignedApproval, rule: ManualApproval, site: str, job_digest: str, root_pem: bytes, now_unix_seconds: float
) -> Approval:
    """Check who signed an approval, and that it is about this site and job.

    Expiry is the rule's affair, and so is the verdict: a denial is verified in the same way.

    Args:
        rule: what the site's policy asks of an approval.
        root_pem: the consortium's root certificate.

    Raises:
        PolicyViolation: in one line without a remedy, which owes nothing to data.
    """
    approval = paper.approval
    certificate = load_certificate(paper.certificate_pem.encode(), "the officer's certificate")
    _check_officer(certificate, load_certificate(root_pem, "the root certificate"), now_unix_seconds)
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise PolicyViolation("the officer's certificate is not an RSA certificate")
    try:
        verify_with(key, bytes.fromhex(paper.signature), canonical_json(approval))
    except InvalidSignature:
        raise PolicyViolation("its signature does not verify") from None
    name, org, role = officer_of(certificate)
    if name != approval.officer or org != org_code(site) or role not in rule.roles:
        wanted = "/".join(rule.roles)
        raise PolicyViolation(f"it is signed by {role or 'no user'} of {org}; {site} wants {wanted} of its own")
    if (approval.site, approval.job_digest) != (site, job_digest):
        raise PolicyViolation("it is about another site or job")
    if approval.expires_unix_seconds - approval.signed_unix_seconds > rule.max_days * DAY_SECONDS:
        raise PolicyViolation(f"it is for longer than {rule.max_days} days")
    if approval.signed_unix_seconds > now_unix_seconds + CLOCK_SKEW_SECONDS:
        raise PolicyViolation("it was signed in the future")
    return approval
