"""Certificates of a consortium, as FLARE issues them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Holder:
    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def issue(issuer: Holder | None, name: str, org: str = "", role: str = "", days: int = 9) -> Holder:
    """Issue a certificate with name, organisation and role where FLARE puts them."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    fields = ((NameOID.COMMON_NAME, name), (NameOID.ORGANIZATION_NAME, org), (NameOID.UNSTRUCTURED_NAME, role))
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in fields if value])
    start = datetime.now(UTC) - timedelta(days=10)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=10 + days))
    )
    return Holder(key, builder.sign(issuer.key if issuer else key, hashes.SHA256()))
