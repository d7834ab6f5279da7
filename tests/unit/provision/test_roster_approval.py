"""A kit whose roster says that the sites made their keys starts only with the site's own signature on that roster."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from kit_cases import certify, make_key, roster_of

from almoner.errors import ProvisioningError
from almoner.provision import names
from almoner.provision.manifest import sign_kit, verify_files, verify_kit
from almoner.provision.roster_approval import APPROVAL_PATH, KEY_PATH, approve, load_pending
from almoner.schema.consortium import Roster
from almoner.schema.enrolment import RosterApproval

SITES = ("cleveland", "hungary", "switzerland")
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def keys() -> dict[str, rsa.RSAPrivateKey]:
    return {name: make_key() for name in (*SITES, "operator")}


@pytest.fixture(scope="module")
def roster(root_key: rsa.RSAPrivateKey, keys: dict[str, rsa.RSAPrivateKey]) -> Roster:
    return roster_of({site: certify(keys[site], site, root_key, "root", role="client") for site in SITES})


def pem_of(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


@pytest.fixture
def joined(
    tmp_path: Path, root_key: rsa.RSAPrivateKey, root_pem: bytes, roster: Roster, keys: dict[str, rsa.RSAPrivateKey]
) -> Make:
    """Return a function that makes the kit of a site up to its approval."""

    def make(
        site: str = "cleveland", roster: Roster = roster, kind: str = "client", key_is_signed: bool = False
    ) -> Path:
        kit = tmp_path / site / "kit"
        entry = roster.entry(site)
        assert entry is not None
        files = {
            "startup/rootCA.pem": root_pem,
            "startup/client.crt": entry.certificate_pem.encode(),
            "startup/start.sh": b"#!/bin/sh\n",
            f"local/{names.KIT_FILE}": json.dumps({"kind": kind, "name": site, "org": site}).encode(),
            f"local/{names.ROSTER_FILE}": roster.model_dump_json().encode(),
            f"local/{names.POLICY_FILE}": b"schema_version: 1\n",
        }
        key = {KEY_PATH: pem_of(keys[site])}
        write(kit, files | (key if key_is_signed else {}))
        sign_kit(kit, site, root_key)
        write(kit, key)
        return kit

    return make


def write(kit: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (kit / name).parent.mkdir(parents=True, exist_ok=True)
        (kit / name).write_bytes(content)
        (kit / name).chmod(0o600)


def approved(kit: Path) -> Path:
    pending = load_pending(kit)
    approve(pending, pending.roster_sha256)
    return kit


def refused(kit: Path) -> str:
    with pytest.raises(ProvisioningError) as caught:
        verify_kit(kit)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_no_approval_no_start(joined: Make) -> None:
    kit = joined()
    assert verify_files(kit)
    assert refused(kit) == (
        f"{kit}: the site's data officer has not approved the roster yet → compare the fingerprints: "
        f"almoner site approve-roster {kit.parent}"
    )
    verify_kit(approved(kit))
    (kit / APPROVAL_PATH).unlink()
    assert "has not approved the roster yet" in refused(kit)


@pytest.mark.threat("T-151")
def test_only_the_digest_that_was_compared_is_signed(joined: Make) -> None:
    kit = joined()
    pending = load_pending(kit)
    for other in ("0" * 64, "", pending.roster_sha256[:-1], pending.root_sha256, pending.manifest_sha256):
        with pytest.raises(ProvisioningError, match=f"its roster has the digest {pending.roster_sha256}, not "):
            approve(pending, other)
        assert not (kit / APPROVAL_PATH).exists()
    approve(pending, f" {pending.roster_sha256.upper()}\n")
    assert (kit / APPROVAL_PATH).stat().st_mode & 0o777 == 0o600
    verify_kit(kit)


def test_all_sites_compare_one_digest(joined: Make) -> None:
    assert len({load_pending(joined(site)).roster_sha256 for site in SITES}) == 1
    assert len({load_pending(joined(site)).manifest_sha256 for site in SITES}) == 3


@pytest.mark.threat("T-35")
def test_an_operator_that_swaps_a_key_after_the_approval(
    joined: Make, root_key: rsa.RSAPrivateKey, roster: Roster, keys: dict[str, rsa.RSAPrivateKey]
) -> None:
    kit = approved(joined())
    certificate = certify(keys["operator"], "hungary", root_key, "root", role="client")
    swapped = roster_of({"hungary": certificate}).sites[0]
    entries = tuple(swapped if entry.site == "hungary" else entry for entry in roster.sites)
    other = roster.model_copy(update={"sites": entries})
    write(kit, {f"local/{names.ROSTER_FILE}": other.model_dump_json().encode()})
    assert "was changed" in refused(kit)
    sign_without_own_files(kit, root_key)
    assert verify_files(kit)  # for the operator's own signature all is well
    assert "is not the site's approval of this roster and kit" in refused(kit)


def sign_without_own_files(kit: Path, root_key: rsa.RSAPrivateKey) -> None:
    """Sign a kit again as an operator could who never sees the site's own files."""
    own = {name: (kit / name).read_bytes() for name in (KEY_PATH, APPROVAL_PATH) if (kit / name).exists()}
    for name in own:
        (kit / name).unlink()
    sign_kit(kit, "cleveland", root_key)
    write(kit, own)


def test_an_operator_that_loosens_the_policy_after_the_approval(joined: Make, root_key: rsa.RSAPrivateKey) -> None:
    kit = approved(joined())
    write(kit, {f"local/{names.POLICY_FILE}": b"anything: goes\n"})
    sign_without_own_files(kit, root_key)
    assert verify_files(kit)
    assert "is not the site's approval of this roster and kit" in refused(kit)


def test_an_operator_that_calls_the_keys_central_gets_no_claim(
    joined: Make, root_key: rsa.RSAPrivateKey, roster: Roster
) -> None:
    kit = joined(roster=roster.model_copy(update={"keys": "central"}))
    assert refused(kit) == f"{kit / KEY_PATH}: was added after provisioning → restore the kit that was signed"


def test_an_operator_that_made_the_sites_key(joined: Make) -> None:
    kit = approved(joined(key_is_signed=True))
    assert "its key was made by the operator, not at the site" in refused(kit)


def test_an_operator_that_calls_a_site_a_server(joined: Make) -> None:
    assert "client.key: was added after provisioning" in refused(joined(kind="server"))


def test_the_approvals_of_others(joined: Make) -> None:
    kit, other = joined("cleveland"), approved(joined("hungary"))
    shutil.copy(other / APPROVAL_PATH, kit / APPROVAL_PATH)
    assert "is not the site's approval" in refused(kit)
    forged = json.loads((kit / APPROVAL_PATH).read_bytes()) | {
        "site": "cleveland",
        "manifest_sha256": load_pending(kit).manifest_sha256,
    }
    (kit / APPROVAL_PATH).write_text(json.dumps(forged))
    assert "is not the site's approval" in refused(kit)


@pytest.mark.parametrize("field", ["consortium", "site", "roster_sha256", "manifest_sha256", "signature"])
def test_every_field_of_an_approval_counts(joined: Make, field: str) -> None:
    kit = approved(joined())
    content = json.loads((kit / APPROVAL_PATH).read_bytes())
    last = "0" if content[field][-1] != "0" else "1"
    changed = RosterApproval.model_validate(content | {field: content[field][:-1] + last})
    (kit / APPROVAL_PATH).write_text(changed.model_dump_json())
    assert "is not the site's approval" in refused(kit)


@pytest.mark.threat("T-35")
def test_a_roster_with_a_certificate_of_the_operators_for_this_site(
    joined: Make, root_key: rsa.RSAPrivateKey, roster: Roster, keys: dict[str, rsa.RSAPrivateKey]
) -> None:
    fake = roster_of({"cleveland": certify(keys["operator"], "cleveland", root_key, "root", role="client")}).sites[0]
    kit = joined(roster=roster.model_copy(update={"sites": (fake, *roster.sites[1:])}))
    with pytest.raises(ProvisioningError, match="is not that of this site's own key"):
        load_pending(kit)
    assert "is not that of this site's own key" in refused(kit)


@pytest.mark.threat("T-35")
def test_a_sybil_of_another_role_in_the_roster(
    joined: Make, root_key: rsa.RSAPrivateKey, roster: Roster, keys: dict[str, rsa.RSAPrivateKey]
) -> None:
    sybil = roster_of({"zurich": certify(keys["operator"], "lead@cleveland.example", root_key, "root", role="lead")})
    kit = joined(roster=roster.model_copy(update={"sites": roster.sites + sybil.sites}))
    assert "the roster's certificate of zurich is of somebody else" in refused(kit)


@pytest.mark.threat("T-35")
def test_a_sybil_that_a_site_signed(joined: Make, roster: Roster, keys: dict[str, rsa.RSAPrivateKey]) -> None:
    sybil = roster_of({"zurich": certify(keys["operator"], "zurich", keys["hungary"], "hungary")})
    kit = joined(roster=roster.model_copy(update={"sites": roster.sites + sybil.sites}))
    assert "the roster's certificate of zurich was not issued by the consortium's root" in refused(kit)


def test_a_site_that_is_not_in_the_roster(joined: Make, roster: Roster) -> None:
    kit = joined()
    (kit / "local" / names.KIT_FILE).write_text(json.dumps({"kind": "client", "name": "zurich", "org": "zurich"}))
    with pytest.raises(ProvisioningError, match="zurich is not in it"):
        load_pending(kit)


@pytest.mark.parametrize("content", [b"", b"no key"])
def test_a_key_that_is_none(joined: Make, content: bytes) -> None:
    kit = joined()
    (kit / KEY_PATH).write_bytes(content)
    with pytest.raises(ProvisioningError, match="not a private key without a passphrase"):
        load_pending(kit)


def test_a_key_that_others_can_read(joined: Make) -> None:
    kit = approved(joined())
    (kit / KEY_PATH).chmod(0o640)
    assert "readable by other users" in refused(kit)


def test_the_certificate_beside_the_key_is_the_rosters(
    joined: Make, root_key: rsa.RSAPrivateKey, keys: dict[str, rsa.RSAPrivateKey]
) -> None:
    kit = joined()
    twin = certify(keys["cleveland"], "cleveland", root_key, "root", role="lead")
    assert isinstance(twin, x509.Certificate)
    write(kit, {"startup/client.crt": twin.public_bytes(Encoding.PEM)})
    with pytest.raises(ProvisioningError, match="is not that of this site's own key"):
        load_pending(kit)
