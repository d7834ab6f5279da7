"""A roster names only what the root itself issued: a chain check takes sybils, this one does not."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from kit_cases import certify, make_key, roster_of

from almoner.errors import ProvisioningError
from almoner.provision.issued import subject_of, verify_directly_issued, verify_roster


@pytest.fixture(scope="module")
def root(root_pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(root_pem)


@pytest.fixture(scope="module")
def keys() -> list[rsa.RSAPrivateKey]:
    return [make_key() for _ in range(3)]


def chain_check(chain: list[x509.Certificate], root: x509.Certificate) -> None:
    """What a naive verifier does: each certificate is signed by the next, the last one by the root."""
    for lower, upper in zip(chain, [*chain[1:], root], strict=True):
        lower.verify_directly_issued_by(upper)


@pytest.mark.threat("T-35")
def test_a_leaf_that_signs_a_sybil(
    root_key: rsa.RSAPrivateKey, root: x509.Certificate, keys: list[rsa.RSAPrivateKey]
) -> None:
    leaf = certify(keys[0], "cleveland", root_key, "root")
    sybil = certify(keys[1], "hungary", keys[0], "cleveland")
    chain_check([sybil, leaf], root)  # the attack works where chains are walked
    verify_directly_issued(leaf, root)
    with pytest.raises(ProvisioningError, match="not signed by the consortium's root itself"):
        verify_directly_issued(sybil, root)


def test_a_leaf_that_signs_under_the_roots_name(root: x509.Certificate, keys: list[rsa.RSAPrivateKey]) -> None:
    with pytest.raises(ProvisioningError, match="not signed by the consortium's root itself"):
        verify_directly_issued(certify(keys[1], "hungary", keys[0], "root"), root)


def test_what_the_root_signed_under_another_issuers_name(
    root_key: rsa.RSAPrivateKey, root: x509.Certificate, keys: list[rsa.RSAPrivateKey]
) -> None:
    with pytest.raises(ProvisioningError, match="not signed by the consortium's root itself"):
        verify_directly_issued(certify(keys[1], "hungary", root_key, "cleveland"), root)


def test_the_root_is_no_participant(root: x509.Certificate) -> None:
    with pytest.raises(ProvisioningError, match="not signed by the consortium's root itself"):
        verify_directly_issued(root, root)


def test_a_roster_of_sites(root_key: rsa.RSAPrivateKey, root: x509.Certificate, keys: list[rsa.RSAPrivateKey]) -> None:
    own = certify(keys[0], "va-long-beach", root_key, "root", org="va_long_beach", role="client")
    central = certify(keys[1], "hungary", root_key, "root")
    assert subject_of(own.subject) == ("va-long-beach", "va_long_beach", "client")
    verify_roster(roster_of({"va-long-beach": own, "hungary": central}), root)


@pytest.mark.parametrize(
    ("name", "org", "role"),
    [
        ("cleveland", "cleveland", "lead"),
        ("cleveland", "cleveland", "org_admin"),
        ("cleveland", "cleveland", "server"),
        ("lead@cleveland.example", "cleveland", "lead"),
        ("hungary", "cleveland", "client"),
        ("cleveland", "hungary", "client"),
        ("localhost", "coordinating_centre", None),
    ],
)
@pytest.mark.threat("T-35")
def test_a_sybil_with_a_valid_certificate_of_another_name_or_role(
    name: str,
    org: str,
    role: str | None,
    root_key: rsa.RSAPrivateKey,
    root: x509.Certificate,
    keys: list[rsa.RSAPrivateKey],
) -> None:
    certificate = certify(keys[0], name, root_key, "root", org=org, role=role)
    verify_directly_issued(certificate, root)  # it is one of this consortium
    with pytest.raises(ProvisioningError, match=r"^the roster's certificate of cleveland is of ") as caught:
        verify_roster(roster_of({"cleveland": certificate}), root)
    assert str(caught.value).isprintable()


def test_a_subject_with_two_names(
    root_key: rsa.RSAPrivateKey, root: x509.Certificate, keys: list[rsa.RSAPrivateKey]
) -> None:
    parts = [(NameOID.COMMON_NAME, "cleveland"), (NameOID.COMMON_NAME, "hungary")]
    subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(root.subject, subject, keys[0].public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    with pytest.raises(ProvisioningError, match="is of somebody else"):
        verify_roster(roster_of({"cleveland": builder.sign(root_key, hashes.SHA256())}), root)


@pytest.mark.threat("T-35")
def test_one_key_that_stands_for_two_sites(
    root_key: rsa.RSAPrivateKey, root: x509.Certificate, keys: list[rsa.RSAPrivateKey]
) -> None:
    twins = {name: certify(keys[0], name, root_key, "root") for name in ("cleveland", "hungary")}
    with pytest.raises(ProvisioningError, match=r"^the roster's certificate of hungary has the key of another site → "):
        verify_roster(roster_of(twins), root)


def test_a_site_that_stands_there_twice(
    root_key: rsa.RSAPrivateKey, root: x509.Certificate, keys: list[rsa.RSAPrivateKey]
) -> None:
    first, second = (roster_of({"cleveland": certify(key, "cleveland", root_key, "root")}) for key in keys[:2])
    both = first.model_copy(update={"sites": first.sites + second.sites})
    with pytest.raises(ProvisioningError, match="cleveland is not in the roster once"):
        verify_roster(both, root)


def test_a_fingerprint_that_is_another_certificates(
    root_key: rsa.RSAPrivateKey, root: x509.Certificate, keys: list[rsa.RSAPrivateKey]
) -> None:
    roster = roster_of({"cleveland": certify(keys[0], "cleveland", root_key, "root")})
    entry = roster.sites[0].model_copy(update={"certificate_sha256": "0" * 64})
    with pytest.raises(ProvisioningError, match="has not the fingerprint that it pins"):
        verify_roster(roster.model_copy(update={"sites": (entry,)}), root)
