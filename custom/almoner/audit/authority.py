"""Who may sign what in a pack, from the root certificate alone.

The root's key signs the manifest of every kit; a manifest lists the SHA-256 of the kit's certificate, policy and
roster. So a certificate is the server's because the manifest of a server's kit lists it, and a site's because the
manifest of a kit of that name does. FLARE's certificates do not say it themselves: those of servers and sites differ
in their names alone.

There is no clock and no revocation list here: a manifest that was replaced since still verifies, and so does what a
user signed whose certificate was revoked later. Sites ask their list when they decide (`admission.user_certificates`).
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from almoner.audit.strict_json import read_model
from almoner.errors import EvidenceError
from almoner.protection.signing import verify_with
from almoner.schema.base import Digest, Model
from almoner.schema.consortium import Roster

SERVER_CERTIFICATE, SITE_CERTIFICATE = "startup/server.crt", "startup/client.crt"
ROSTER, POLICY, FLOOR = "local/almoner_roster.json", "local/almoner_policy.yaml", "local/almoner_floor.yaml"
ATTESTATION = "local/attestation__p_resources.json"
"""In the kits of consortia alone that ask for attestation."""


class KitManifest(Model):
    """What the root signed of one kit: SHA-256 by path."""

    schema_version: int
    kit: str
    files: dict[str, Digest]

    def require(self, path: str, content: bytes, where: str) -> None:
        """Check that a file is the one that the manifest lists.

        Raises:
            EvidenceError: it is not.
        """
        if self.files.get(path) != hashlib.sha256(content).hexdigest():
            raise EvidenceError(f"{where}: not the {path} that the root signed for kit {self.kit}")


@dataclass(frozen=True)
class Party:
    """Who signs: a name, and the certificate that the root issued for it."""

    name: str
    certificate: x509.Certificate
    key: rsa.RSAPublicKey

    @property
    def key_id(self) -> str:
        """SHA-256 fingerprint of the certificate, hexadecimal."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()


class Root:
    """The consortium's root certificate.

    Args:
        pem: the certificate; whoever verifies has it from a source of his own.

    Raises:
        EvidenceError: it is not an RSA certificate.
    """

    def __init__(self, pem: bytes) -> None:
        self.certificate = load_certificate(pem, "the root certificate")
        self._key = _rsa_key(self.certificate, "the root certificate")

    @property
    def fingerprint(self) -> str:
        """SHA-256, hexadecimal: to be compared with what the operator published."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def manifest(self, manifest: bytes, signature: bytes, where: str) -> KitManifest:
        """Return a kit's manifest after checking the root's signature.

        Raises:
            EvidenceError: the root did not sign it, or it is none.
        """
        try:
            verify_with(self._key, signature, manifest)
            return KitManifest.model_validate_json(manifest)
        except InvalidSignature:
            raise EvidenceError(f"{where}: not signed by the root certificate") from None
        except ValueError:
            raise EvidenceError(f"{where}: not a kit's manifest") from None

    def party(self, pem: bytes, name: str | None, where: str) -> Party:
        """Return the party of a certificate that the root issued itself.

        Args:
            name: whose it must be; anybody's if None.

        Raises:
            EvidenceError: it was issued by another, or to another.
        """
        certificate = load_certificate(pem, where)
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            raise EvidenceError(f"{where}: not issued by the root certificate") from None
        key = _rsa_key(certificate, where)
        common_name = subject_text(certificate, NameOID.COMMON_NAME)
        if key == self._key or (name is not None and common_name != name):
            raise EvidenceError(f"{where}: a certificate of {common_name or 'nobody'}, not of {name}")
        return Party(common_name, certificate, key)


def load_certificate(pem: bytes, where: str) -> x509.Certificate:
    """Read a certificate, PEM.

    Raises:
        EvidenceError: it cannot be read.
    """
    try:
        return x509.load_pem_x509_certificate(pem)
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise EvidenceError(f"{where}: not a certificate") from None


def subject_text(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    """Return a field of a certificate's subject; "" unless it is there once."""
    values = [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid)]
    return values[0] if len(values) == 1 else ""


def inventory_row(pem: bytes, kind: str, root: Root | None = None) -> dict[str, Any]:
    """Return what is public about a certificate.

    Args:
        kind: whose it is: root, server, site, submitter.
        root: who issued it; nothing is checked if None.
    """
    certificate = load_certificate(pem, f"certificate of the {kind}")
    if root is not None:
        root.party(pem, None, f"certificate of the {kind}")
    key = _rsa_key(certificate, f"certificate of the {kind}")
    return {
        "kind": kind,
        "name": subject_text(certificate, NameOID.COMMON_NAME),
        "organisation": subject_text(certificate, NameOID.ORGANIZATION_NAME),
        "role": subject_text(certificate, NameOID.UNSTRUCTURED_NAME),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial_number": f"{certificate.serial_number:x}",
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "key": f"RSA-{key.key_size}",
    }


def read_roster(data: bytes, where: str) -> Roster:
    """Read a roster.

    Raises:
        EvidenceError: it is none.
    """
    return read_model(Roster, data, where, "a roster of this release")


def _rsa_key(certificate: x509.Certificate, where: str) -> rsa.RSAPublicKey:
    """Return a certificate's key; whatever is in its place, it is an RSA key or an `EvidenceError`."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise EvidenceError(f"{where}: not an RSA certificate") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise EvidenceError(f"{where}: not an RSA certificate")
    return key
