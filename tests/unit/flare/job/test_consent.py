"""A consent counts for one site, one job, one envelope and one answer; every other use of it fails."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flare_cases import SITES, Pki
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.errors import ProtocolError
from almoner.flare.job.consent import CONSENT_BYTES, sign_consent, verify_consent
from almoner.schema.consortium import Roster

SITE, OTHER = SITES[:2]
ENVELOPE, JOB = "e" * 64, "job-1"


def sign(
    pki: Pki, site: str = SITE, envelope: str = ENVELOPE, job: str = JOB, consents: bool = True, key: str = SITE
) -> bytes:
    return sign_consent(pki.key(key).read_bytes(), site, envelope, job, consents)


def verify(answer: bytes, pki: Pki, site: str = SITE, envelope: str = ENVELOPE, job: str = JOB) -> None:
    verify_consent(answer, pki.roster, site, envelope, job)


@pytest.fixture(scope="module")
def yes(pki: Pki) -> bytes:
    return sign(pki)


def test_a_yes_is_accepted(pki: Pki, yes: bytes) -> None:
    verify(yes, pki)


def test_yes_and_no_have_one_length(pki: Pki) -> None:
    assert len(sign(pki)) == len(sign(pki, consents=False)) == CONSENT_BYTES


def test_a_no_is_no_consent(pki: Pki) -> None:
    with pytest.raises(ProtocolError, match=f"{SITE} does not consent to the model's release"):
        verify(sign(pki, consents=False), pki)


@pytest.mark.threat("T-152")
def test_a_no_whose_byte_is_flipped_is_not_signed(pki: Pki) -> None:
    refusal = sign(pki, consents=False)
    with pytest.raises(ProtocolError, match=f"the consent of {SITE} is not signed by it"):
        verify(b"\x01" + refusal[1:], pki)


def test_a_consent_to_another_job_is_not_one_to_this(pki: Pki) -> None:
    replayed = sign(pki, job="job-0")
    verify(replayed, pki, job="job-0")  # it is good where it was given
    with pytest.raises(ProtocolError, match="is not signed by it"):
        verify(replayed, pki)


def test_a_consent_to_another_envelope_is_not_one_to_this(pki: Pki) -> None:
    with pytest.raises(ProtocolError, match="is not signed by it"):
        verify(sign(pki, envelope="f" * 64), pki)


@pytest.mark.threat("T-152")
def test_a_site_cannot_consent_for_another(pki: Pki) -> None:
    with pytest.raises(ProtocolError, match="is not signed by it"):
        verify(sign(pki, site=OTHER), pki)  # its own consent, shown as that of SITE
    with pytest.raises(ProtocolError, match="is not signed by it"):
        verify(sign(pki, site=OTHER, key=SITE), pki, site=OTHER)  # SITE signs in the name of OTHER
    with pytest.raises(ProtocolError, match="is not signed by it"):
        verify(sign(pki, key="lead"), pki)


def test_a_site_that_is_not_in_the_roster_cannot_consent(pki: Pki) -> None:
    with pytest.raises(ProtocolError, match="nowhere does not consent"):
        verify(sign(pki, site="nowhere"), pki, site="nowhere")
    empty = Roster(schema_version=1, consortium="c", sites=())
    with pytest.raises(ProtocolError, match="does not consent"):
        verify_consent(sign(pki), empty, SITE, ENVELOPE, JOB)


@settings(max_examples=60)
@given(data=st.data())
def test_any_changed_byte_spoils_a_consent(pki: Pki, yes: bytes, data: st.DataObject) -> None:
    answer = bytearray(yes)
    answer[data.draw(st.integers(0, CONSENT_BYTES - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProtocolError):
        verify(bytes(answer), pki)


@given(answer=st.binary(max_size=2 * CONSENT_BYTES) | st.binary(min_size=CONSENT_BYTES, max_size=CONSENT_BYTES))
def test_random_bytes_are_no_consent(pki: Pki, answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        verify(answer, pki)


def test_other_kinds_of_keys_cannot_sign() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with pytest.raises(ProtocolError, match="not an RSA key"):
        sign_consent(pem, SITE, ENVELOPE, JOB, True)
