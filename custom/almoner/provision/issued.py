"""Which certificates a roster may name: issued by the root itself, to that site, in no other role, for its own key.

The leaves of FLARE's central provisioner carry no BasicConstraints. Whoever holds one can sign further certificates
with it, and a check that walks a chain takes them: one site could stand in a roster as many (a sybil).
"""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from almoner.errors import ProvisioningError
from almoner.provision.roster import fingerprint
from almoner.schema.base import org_code
from almoner.schema.consortium import Roster

SITE_ROLES = ("", "client")
"""What FLARE writes as role into a site's certificate: nothing if it makes the key, `client` if the site does."""


def load_certificate(pem: bytes, source: str) -> x509.Certificate:
    """Read a certificate.

    Raises:
        ProvisioningError: it is none, or its key is no RSA key.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        is_rsa = isinstance(certificate.public_key(), rsa.RSAPublicKey)
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise ProvisioningError(f"{source}: not a certificate → ask the operator for it again") from None
    if not is_rsa:
        raise ProvisioningError(f"{source}: not an RSA certificate → ask the operator for it again")
    return certificate


def subject_of(name: x509.Name) -> tuple[str, str, str]:
    """Return name, organisation and role, where FLARE puts them; "" for what is not there exactly once."""

    def text(oid: x509.ObjectIdentifier) -> str:
        found = name.get_attributes_for_oid(oid)
        return str(found[0].value) if len(found) == 1 else ""

    return text(NameOID.COMMON_NAME), text(NameOID.ORGANIZATION_NAME), text(NameOID.UNSTRUCTURED_NAME)


def verify_directly_issued(certificate: x509.Certificate, root: x509.Certificate) -> None:
    """Check that the root itself signed a certificate.

    *Guarantee*: the chain has depth exactly 1. What a leaf signed is refused, also if it names the root as its issuer,
    and so is the root.

    Raises:
        ProvisioningError: it did not; the text is for a caller to put a place before.
    """
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        raise ProvisioningError("its certificate is not signed by the consortium's root itself") from None
    if certificate.public_key() == root.public_key():
        raise ProvisioningError("its certificate has the key of the consortium's root")


def verify_roster(roster: Roster, root: x509.Certificate) -> None:
    """Check every certificate of a roster.

    *Guarantee*: each entry's certificate has the fingerprint that the roster names, was signed by the root itself, was
    issued to that site, of that site's organisation, in no other role, and no two entries share a name or a key.

    Raises:
        ProvisioningError: naming the first site of which this does not hold.
    """
    seen: set[object] = set()
    for entry in roster.sites:
        certificate = load_certificate(entry.certificate_pem.encode(), f"roster: {entry.site}")
        key = certificate.public_key().public_numbers()  # type: ignore[union-attr]
        try:
            verify_directly_issued(certificate, root)
            if fingerprint(certificate) != entry.certificate_sha256:
                raise ProvisioningError("its certificate has not the fingerprint that the roster names")
            name, org, role = subject_of(certificate.subject)
            if (name, org) != (entry.site, org_code(entry.site)) or role not in SITE_ROLES:
                raise ProvisioningError(f"its certificate was issued to {name!r} of {org!r} with the role {role!r}")
            if key in seen or entry.site in seen:
                raise ProvisioningError("its name or its key is there twice")
        except ProvisioningError as error:
            raise ProvisioningError(f"roster: {entry.site}: {error} → ask the operator for another roster") from None
        seen |= {key, entry.site}
