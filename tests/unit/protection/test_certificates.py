"""Only a certificate that the roster pins and the root issued to that very site speaks for it."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from protection_cases import SITES, careless_server, entry, entry_of, issue, key_pem, network, pem, root_pem, roster
from protection_cases import agreement as site_agreement

from almoner.errors import ProtocolError
from almoner.protection import certificates
from almoner.protection.certificates import pinned_certificate, site_keys
from almoner.schema.consortium import Roster, RosterEntry

USER = "lead@ada.example"


def refusal(*instead: RosterEntry) -> str:
    with pytest.raises(ProtocolError) as caught:
        site_keys(roster(*instead), root_pem(), SITES)
    return str(caught.value)


def test_pinned_and_issued() -> None:
    keys = site_keys(roster(), root_pem(), SITES)
    assert list(keys) == list(SITES)
    assert len({key.public_numbers().n for key in keys.values()}) == len(SITES)


def test_certificate_made_at_the_site_names_its_role() -> None:
    own = entry_of("bob", issue("bob", "bob", role="client"))
    assert len(site_keys(roster(own), root_pem(), SITES)) == len(SITES)


NOT_ISSUED = "not issued by the consortium's root"

SYBILS: dict[str, tuple[Callable[[], RosterEntry], str]] = {
    "of a user": (lambda: entry_of("bob", issue(USER, "user", role="lead")), "of somebody else"),
    "of a user named like the site": (lambda: entry_of("bob", issue("bob", "user", role="lead")), "of another role"),
    "of the server": (lambda: entry_of("bob", issue("server.example", "server")), "of somebody else"),
    "of the server, with its role": (lambda: entry_of("bob", issue("bob", "server", role="server")), "of another role"),
    "of another site": (lambda: entry_of("bob", issue("eve", "eve")), "of somebody else"),
    "signed by a user's key": (lambda: entry_of("bob", issue("bob", "mallory", "", USER, "user")), NOT_ISSUED),
    "signed by a site's key in the root's name": (
        lambda: entry_of("bob", issue("bob", "mallory", "", "root", "eve")),
        NOT_ISSUED,
    ),
    "signed by itself": (lambda: entry_of("bob", issue("bob", "mallory", "", "bob", "mallory")), NOT_ISSUED),
    "with the root's key": (lambda: entry_of("bob", issue("bob", "root")), "is that of the root"),
    "with another site's key": (lambda: entry_of("eve", issue("eve", "ada")), "has the key of another site"),
}
"""Certificates that the consortium's root stands behind, or seems to, shown as those of a site."""


@pytest.mark.threat("T-35")
@pytest.mark.parametrize("which", list(SYBILS))
def test_sybils(which: str) -> None:
    shown, text = SYBILS[which]
    assert text in refusal(shown())


@pytest.mark.threat("T-35")
@pytest.mark.parametrize(
    ("which", "key"),
    [
        ("of a user", "user"),
        ("of a user named like the site", "user"),
        ("of the server", "server"),
        ("signed by a user's key", "mallory"),
        ("signed by a site's key in the root's name", "mallory"),
    ],
)
def test_what_a_sybil_would_get(which: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds some key of the consortium would sit at bob's place and know the job's secrets."""
    false = roster(SYBILS[which][0]())
    with pytest.raises(ProtocolError):
        site_agreement("ada", roster=false)

    monkeypatch.setattr(certificates, "verify_issued", lambda certificate, root, site: None)
    monkeypatch.setattr(certificates, "_texts", lambda certificate, oid: [])
    monkeypatch.setattr(
        certificates,
        "pinned_certificate",
        lambda roster, site: certificates._load(roster.entry(site).certificate_pem.encode(), site),
    )
    net = network()
    for site in SITES:
        net.machines[site] = site_agreement(site, roster=false, private_key_pem=key_pem(key if site == "bob" else site))
    net.run(careless_server())
    assert not net.errors
    assert net.agreed["bob"].tag_key == net.agreed["ada"].tag_key


@pytest.mark.threat("T-35")
def test_a_certificate_beside_its_fingerprint() -> None:
    """The roster pins a fingerprint; another certificate next to it, of the same root and name, is refused."""
    other = issue("bob", "mallory")
    assert "has not the fingerprint" in refusal(
        entry("bob").model_copy(update={"certificate_pem": pem(other).decode()})
    )
    assert site_keys(roster(entry_of("bob", other)), root_pem(), SITES)  # with its own fingerprint it would pass


def test_another_root_of_the_same_name() -> None:
    other = pem(issue("root", "another root", issuer_key="another root"))
    with pytest.raises(ProtocolError, match="ada was not issued by the consortium's root"):
        site_keys(roster(), other, SITES)


def test_missing_twice_and_unreadable() -> None:
    with pytest.raises(ProtocolError, match="zoe is not in the roster once"):
        pinned_certificate(roster(), "zoe")
    twice = Roster(schema_version=1, consortium="small", sites=(entry("ada"), *roster().sites))
    with pytest.raises(ProtocolError, match="ada is not in the roster once"):
        pinned_certificate(twice, "ada")
    assert "cannot be read" in refusal(entry("bob").model_copy(update={"certificate_pem": "no certificate"}))
    with pytest.raises(ProtocolError, match="the root certificate cannot be read"):
        site_keys(roster(), b"", SITES)


def test_a_key_that_is_not_rsa(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())

    def rsa_or_curve(name: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
        return curve if name == "curve" else known(name)

    import protection_cases

    known = protection_cases.rsa_key
    monkeypatch.setattr(protection_cases, "rsa_key", rsa_or_curve)
    assert "not an RSA certificate" in refusal(entry_of("bob", issue("bob", "curve")))
