"""Whose certificate speaks for a site: the one that the roster in the own kit pins, and no other.

FLARE's centrally made certificates carry neither BasicConstraints nor a role for sites and servers, so the holder of
any certificate of the consortium could sign others that a chain of two would accept. Hence: the fingerprint is the
roster's, the root itself signed it, and the subject is the site's name without the role of a server or user.

There is no clock here: validity in time is the affair of the connection, and a site's certificate goes out of use with
the next roster. Users' certificates: `admission.user_certificates`.
"""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from almoner.errors import ProtocolError
from almoner.schema.consortium import Roster

_SITE_ROLES = ("", "client")
"""What FLARE writes into a site's certificate: nothing when it makes the key, "client" when the site did."""


def pinned_certificate(roster: Roster, site: str) -> x509.Certificate:
    """Return the certificate that a roster pins for a site.

    Raises:
        ProtocolError: there is none, or not exactly one, or not with that fingerprint or subject.
    """
    entries = [entry for entry in roster.sites if entry.site == site]
    if len(entries) != 1:
        raise ProtocolError(f"{site} is not in the roster once")
    certificate = _load(entries[0].certificate_pem.encode(), f"the roster's certificate of {site}")
    if certificate.fingerprint(hashes.SHA256()).hex() != entries[0].certificate_sha256:
        raise ProtocolError(f"the roster's certificate of {site} has not the fingerprint that it pins")
    if _texts(certificate, NameOID.COMMON_NAME) != [site]:
        raise ProtocolError(f"the roster's certificate of {site} is of somebody else")
    if any(role not in _SITE_ROLES for role in _texts(certificate, NameOID.UNSTRUCTURED_NAME)):
        raise ProtocolError(f"the roster's certificate of {site} is of another role")
    return certificate


def public_key(certificate: x509.Certificate, site: str) -> rsa.RSAPublicKey:
    """Return a site certificate's key.

    Raises:
        ProtocolError: it is not RSA.
    """
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise ProtocolError(f"the roster's certificate of {site} is not an RSA certificate")
    return key


def verify_issued(certificate: x509.Certificate, root_pem: bytes, site: str) -> None:
    """Check that the consortium's root signed a site's certificate itself.

    Raises:
        ProtocolError: it did not, or the certificate is the root's own.
    """
    root = _load(root_pem, "the root certificate")
    if certificate.public_key() == root.public_key():
        raise ProtocolError(f"the roster's certificate of {site} is that of the root")
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        raise ProtocolError(f"the roster's certificate of {site} was not issued by the consortium's root") from None


def site_keys(roster: Roster, root_pem: bytes, sites: tuple[str, ...]) -> dict[str, rsa.RSAPublicKey]:
    """Return the certificate keys of sites.

    *Guarantee*: each is pinned by the roster, its certificate was issued by the root to the site of that name, and
    no two are equal.

    Args:
        roster: of the own kit, whose signature was verified.
        root_pem: the root certificate of the own kit.

    Raises:
        ProtocolError: naming the first site for which this does not hold.
    """
    keys: dict[str, rsa.RSAPublicKey] = {}
    for site in sites:
        certificate = pinned_certificate(roster, site)
        verify_issued(certificate, root_pem, site)
        key = public_key(certificate, site)
        if key in keys.values():
            raise ProtocolError(f"the roster's certificate of {site} has the key of another site")
        keys[site] = key
    return keys


def _load(pem: bytes, what: str) -> x509.Certificate:
    """Read a certificate."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise ProtocolError(f"{what} cannot be read") from None


def _texts(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> list[str]:
    """Return all values of one field of a certificate's subject."""
    return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid)]
