"""A site's signed word on a result of a job: so that who fetches it need not take the server's word for it.

*Guarantee*: a voucher is of one site, one submission, one job, one kind of result and its bytes. It says that the site
sent these bytes, or took every step to them itself; not that what it sent is honest.

Mitigates: T-162.
"""

from hashlib import sha256
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa

from almoner.protection.signing import SIGNATURE_BYTES, sign, verify_with
from almoner.schema.base import canonical_json

VOUCHER_BYTES = SIGNATURE_BYTES
Vouched = Literal["model", "release", "statistics", "total", "psi_size"]
"""The kinds of results: those that all sites hold alike (model, total), and those of one site."""


def body_digest(body: bytes) -> str:
    """Return what a voucher says of the bytes of a result: SHA-256, hexadecimal."""
    return sha256(body).hexdigest()


def voucher_statement(
    site: str, envelope_digest: str, job_id: str, kind: Vouched, digest: str, of: tuple[str, ...] = ()
) -> bytes:
    """Return what is signed.

    Args:
        digest: see `body_digest`.
        of: the sites whose numbers are in a total.
    """
    bound = {"site": site, "envelope": envelope_digest, "job": job_id, "kind": kind, "sha256": digest, "of": list(of)}
    return canonical_json({"almoner": "result-v1", **bound})


def sign_voucher(private_key_pem: bytes, statement: bytes) -> bytes:
    """Sign a statement with a site's key."""
    return sign(private_key_pem, statement)


def vouches(key: rsa.RSAPublicKey, voucher: str, statement: bytes) -> bool:
    """Tell whether the holder of a key signed a statement.

    Args:
        voucher: hexadecimal.
    """
    try:
        verify_with(key, bytes.fromhex(voucher), statement)
    except (InvalidSignature, ValueError):
        return False
    return True
