"""Signatures with the kits' keys, and that they are made and checked in one place."""

import re
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from protection_cases import key_pem, roster, rsa_key

import almoner
from almoner.errors import ProtocolError
from almoner.protection.signing import SIGNATURE_BYTES, sign, sign_with, verify_signed, verify_with

BOB = rsa_key("bob")


def test_round_trip() -> None:
    for signature in (sign(key_pem("bob"), b"said"), sign_with(BOB, b"said")):
        assert len(signature) == SIGNATURE_BYTES
        verify_with(BOB.public_key(), signature, b"said")
        verify_signed(signature, b"said", roster(), "bob", "word")


def test_the_parameters_are_pss_with_sha256_and_32_bytes_of_salt() -> None:
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    BOB.public_key().verify(sign_with(BOB, b"said"), b"said", pss, hashes.SHA256())
    longest = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.MAX_LENGTH)  # FLARE's
    shorter = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=20)
    for false in (longest, shorter, padding.PKCS1v15()):
        with pytest.raises(InvalidSignature):
            verify_with(BOB.public_key(), BOB.sign(b"said", false, hashes.SHA256()), b"said")


@pytest.mark.parametrize(("site", "statement"), [("bob", b"unsaid"), ("eve", b"said")])
def test_of_something_or_somebody_else(site: str, statement: bytes) -> None:
    with pytest.raises(ProtocolError, match=f"the word of {site} is not signed by it"):
        verify_signed(sign_with(BOB, b"said"), statement, roster(), site, "word")
    with pytest.raises(ProtocolError, match="zoe is not in the roster"):
        verify_signed(b"", b"", roster(), "zoe", "word")


def test_a_key_that_is_not_rsa() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    with pytest.raises(ProtocolError, match="not an RSA key"):
        sign(key.private_bytes(*form), b"said")


def test_no_other_module_chooses_a_padding() -> None:
    """Three copies stood here once; one that verifies less than another would go unnoticed.

    The other one left verifies what FLARE signed, the submitted folder, with FLARE's salt.
    """
    package = Path(almoner.__file__).parent
    found = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"asymmetric\b.*\bpadding\b|\bPSS\(|PKCS1v15", path.read_text())
    ]
    assert sorted(found) == ["audit/submission.py", "protection/signing.py"]
