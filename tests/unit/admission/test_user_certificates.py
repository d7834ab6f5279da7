"""Whose signature counts: the root's own certificates, valid, in their one encoding, and revoked by nobody."""

import shutil
import subprocess
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from certificate_cases import Holder, issue
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

import almoner
from almoner.admission.user_certificates import Trust, verify_user
from almoner.errors import CertificateRefused, PolicyViolation
from almoner.schema.revocation import Revocation

NOW = datetime.now(UTC).timestamp()
TODAY = datetime.fromtimestamp(NOW, UTC).date()
LEAD = ("lead@cleveland.example", "cleveland", "lead")


@pytest.fixture(scope="module")
def root() -> Holder:
    return issue(None, "heart-consortium")


@pytest.fixture(scope="module")
def lead(root: Holder) -> Holder:
    """A lead whose certificate's signature ends in a 0 bit, as every other one does."""
    return next(made for made in iter(lambda: issue(root, *LEAD), None) if made.certificate.signature[-1] % 2 == 0)


def fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def revoking(root: Holder, holder: Holder, since: date) -> Trust:
    name = fingerprint(holder.certificate)
    return Trust(root.pem, (Revocation(certificate_sha256=name, since=since, reason="the laptop was stolen"),))


def refusal(pem: bytes, trust: Trust, now: float = NOW) -> str:
    with pytest.raises(CertificateRefused) as caught:
        verify_user(pem, "the submitter's certificate", trust, now)
    return str(caught.value)


def test_a_user_of_the_consortium(root: Holder, lead: Holder) -> None:
    user = verify_user(lead.pem, "it", Trust(root.pem, ()), NOW)
    assert (user.name, user.org, user.role, user.key) == (*LEAD, lead.key.public_key())


@pytest.mark.threat("T-157")
def test_a_revoked_certificate_counts_until_its_day_and_not_after(root: Holder, lead: Holder) -> None:
    trust = revoking(root, lead, TODAY)
    midnight = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC).timestamp()
    assert verify_user(lead.pem, "it", trust, midnight - 1).name == LEAD[0]
    for now in (midnight, NOW, NOW + 86_400):
        assert refusal(lead.pem, trust, now) == (
            f"the submitter's certificate ({fingerprint(lead.certificate)[:16]}…) is revoked since {TODAY}: "
            "the laptop was stolen"
        )
    assert verify_user(lead.pem, "it", revoking(root, lead, TODAY + timedelta(days=1)), NOW).name == LEAD[0]


@pytest.mark.threat("T-157")
def test_the_same_user_with_a_new_certificate_is_not_revoked(root: Holder, lead: Holder) -> None:
    assert verify_user(issue(root, *LEAD).pem, "it", revoking(root, lead, TODAY), NOW).name == LEAD[0]


@pytest.mark.threat("T-157")
def test_a_revoked_certificate_encoded_anew_under_another_fingerprint(root: Holder, lead: Holder) -> None:
    """The root's signature still verifies: only the count of unused bits before it, which nobody signs, is another."""
    der, signature = lead.certificate.public_bytes(Encoding.DER), lead.certificate.signature
    assert der.endswith(b"\x00" + signature)
    changed = x509.load_der_x509_certificate(der[: -len(signature) - 1] + b"\x01" + signature)
    changed.verify_directly_issued_by(root.certificate)
    assert fingerprint(changed) != fingerprint(lead.certificate)
    pem = changed.public_bytes(Encoding.PEM)
    assert refusal(pem, revoking(root, lead, TODAY)) == "the submitter's certificate is not encoded as it was issued"


_WITH_NULL, _WITHOUT = bytes.fromhex("300d06092a864886f70d01010b0500"), bytes.fromhex("300b06092a864886f70d01010b")


@pytest.mark.threat("T-157")
def test_a_revoked_certificate_with_the_algorithm_outside_written_otherwise(root: Holder, lead: Holder) -> None:
    """FLARE's check takes it: the algorithm beside the signature is not signed, the one inside is."""
    der = lead.certificate.public_bytes(Encoding.DER)
    at = der.rindex(_WITH_NULL)
    body = der[4:at] + _WITHOUT + der[at + len(_WITH_NULL) :]
    changed = x509.load_der_x509_certificate(b"\x30\x82" + len(body).to_bytes(2, "big") + body)
    assert fingerprint(changed) != fingerprint(lead.certificate)
    pem = changed.public_bytes(Encoding.PEM)
    assert "is not one of this consortium" in refusal(pem, revoking(root, lead, TODAY))


@pytest.mark.threat("T-157")
def test_a_certificate_that_a_revoked_one_issued(root: Holder, lead: Holder) -> None:
    """Leaves carry no constraint: the holder of one can sign others, which no list names."""
    assert "is not one of this consortium" in refusal(issue(lead, *LEAD).pem, revoking(root, lead, TODAY))


def test_what_is_out_of_date_or_of_another_root(root: Holder, lead: Holder) -> None:
    trust = Trust(root.pem, ())
    for now in (NOW - 11 * 86_400, NOW + 10 * 86_400):
        assert "is not valid now" in refusal(lead.pem, trust, now)
    assert "is not one of this consortium" in refusal(issue(issue(None, "heart-consortium"), *LEAD).pem, trust)
    with pytest.raises(PolicyViolation, match="not a certificate"):
        verify_user(b"-", "it", trust, NOW)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="compares with what openssl prints")
def test_what_openssl_prints_revokes(root: Holder, lead: Holder, tmp_path: Path) -> None:
    (tmp_path / "client.crt").write_bytes(lead.pem)
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", str(tmp_path / "client.crt")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().partition("=")[2]
    trust = Trust(root.pem, (Revocation(certificate_sha256=printed, since=TODAY, reason="r"),))
    assert "is revoked" in refusal(lead.pem, trust)


@pytest.mark.threat("T-157")
def test_no_other_module_asks_who_issued_a_users_certificate() -> None:
    """Sites' certificates are pinned by the roster (`protection`), and packs ask no list (`audit`)."""
    package = Path(almoner.__file__).parent
    asking = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(call in path.read_text() for call in ("verify_directly_issued_by(", "get_signers(", "verify_cert"))
    }
    assert asking == {
        "admission/user_certificates.py", "audit/authority.py", "flare/door/upload.py", "protection/certificates.py",
    }  # fmt: skip
