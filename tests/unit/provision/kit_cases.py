"""The files of a small kit, and keys and certificates to sign it with."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

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
