"""Which certificates a roster may name: issued by the root itself, to that site, in no other role, for its own key.

The leaves of FLARE's central provisioner carry no BasicConstraints. Whoever holds one can sign further certificates
with it, and a check that walks a chain takes them: one site could stand in a roster as many (a sybil).
"""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from almoner.errors import ProtocolError, ProvisioningError
from almoner.protection.certificates import site_keys, verify_issued
from almoner.schema.base import org_code
from almoner.schema.consortium import Roster


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
        ProvisioningError: it did not.
    """
    try:
        verify_issued(certificate, root.public_bytes(Encoding.PEM), "")
    except ProtocolError:
        raise ProvisioningError("its certificate is not signed by the consortium's root itself") from None


def verify_roster(roster: Roster, root: x509.Certificate) -> None:
    """Check every certificate of a roster.

    *Guarantee*: each entry's certificate has the fingerprint that the roster names, was signed by the root itself, was
    issued to that site, of that site's organisation, in no other role, and no two entries share a name or a key.

    Raises:
        ProvisioningError: naming the first site of which this does not hold.
    """
    try:
        site_keys(roster, root.public_bytes(Encoding.PEM), tuple(entry.site for entry in roster.sites))
        for entry in roster.sites:
            _, org, _ = subject_of(x509.load_pem_x509_certificate(entry.certificate_pem.encode()).subject)
            if org != org_code(entry.site):
                raise ProtocolError(f"the roster's certificate of {entry.site} is of the organisation {org!r}")
    except ProtocolError as error:
        raise ProvisioningError(f"{error} → ask the operator for another roster") from None
