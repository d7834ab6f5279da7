"""The files of a small kit, and keys and certificates to sign it with."""

import datetime
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from almoner.schema.consortium import Roster, RosterEntry

FILES = {
    "startup/client.crt": b"certificate",
    "startup/client.key": b"private key",
    "startup/another.key": b"another private key",
    "startup/start.sh": b"#!/bin/sh\n",
    "local/resources.json": b"{}\n",
    "local/privacy.json": b'{"scopes": []}\n',
    "local/almoner_policy.yaml": b"schema_version: 1\n",
    "local/deeper/empty": b"",
}


def make_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def self_signed(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, name: str = "root") -> bytes:
    """Return a certificate, PEM, of a key for itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=36500))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def certify(
    key: rsa.RSAPrivateKey,
    name: str,
    issuer_key: rsa.RSAPrivateKey,
    issuer: str,
    org: str | None = None,
    role: str | None = None,
) -> x509.Certificate:
    """Return a certificate as FLARE's central provisioner issues it: no BasicConstraints."""
    parts = [(NameOID.COMMON_NAME, name), (NameOID.ORGANIZATION_NAME, org or name)]
    parts += [(NameOID.UNSTRUCTURED_NAME, role)] if role else []
    subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])
    signer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])
    if issuer == "cleveland":
        signer = x509.Name([*signer, x509.NameAttribute(NameOID.ORGANIZATION_NAME, issuer)])
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(signer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=36500))
    return builder.sign(issuer_key, hashes.SHA256())


def roster_of(certificates: dict[str, x509.Certificate], keys: Literal["central", "site"] = "site") -> Roster:
    """Return a roster of these certificates."""
    entries = tuple(
        RosterEntry(
            site=site,
            certificate_sha256=certificate.fingerprint(hashes.SHA256()).hex(),
            certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
            nominal_records={"cardiology": 100},
        )
        for site, certificate in certificates.items()
    )
    return Roster(schema_version=1, consortium="c", keys=keys, sites=entries)
