"""Signatures with the keys of the kits: RSA-PSS, SHA-256, 32 bytes of salt, over statements that say what they are for.

The one place that signs or verifies with RSA. FLARE signs with the same keys, also bytes that a peer chooses; its
signatures have the longest salt that fits, and none of them verifies here.
"""

from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from almoner.errors import ProtocolError
from almoner.schema.consortium import Roster

_PADDING = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
SIGNATURE_BYTES = 256


@lru_cache(maxsize=64)
def _load(private_key_pem: bytes) -> rsa.RSAPrivateKey:
    """Load and check a key, which takes 40 ms."""
    key = serialization.load_pem_private_key(private_key_pem, password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ProtocolError("the kit's key is not an RSA key")
    return key


def sign(private_key_pem: bytes, statement: bytes) -> bytes:
    """Sign a statement with a kit's key.

    Raises:
        ProtocolError: the key is not RSA.
    """
    return sign_with(_load(private_key_pem), statement)


def sign_with(key: rsa.RSAPrivateKey, statement: bytes) -> bytes:
    """Sign a statement with a loaded key."""
    return key.sign(statement, _PADDING, hashes.SHA256())


def verify_with(key: rsa.RSAPublicKey, signature: bytes, statement: bytes) -> None:
    """Check a signature.

    Raises:
        InvalidSignature: the key's holder did not sign the statement.
    """
    key.verify(signature, statement, _PADDING, hashes.SHA256())


def verify_signed(signature: bytes, statement: bytes, roster: Roster, site: str, what: str) -> None:
    """Check that a site of the roster signed a statement.

    Args:
        what: what is signed, for the error's text.

    Raises:
        ProtocolError: the site is not in the roster, or did not sign the statement.
    """
    entry = roster.entry(site)
    if entry is None:
        raise ProtocolError(f"{site} is not in the roster")
    key = x509.load_pem_x509_certificate(entry.certificate_pem.encode()).public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise ProtocolError(f"the roster's certificate of {site} is not an RSA certificate")
    try:
        verify_with(key, signature, statement)
    except InvalidSignature:
        raise ProtocolError(f"the {what} of {site} is not signed by it") from None
