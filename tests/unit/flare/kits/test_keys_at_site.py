"""Keys made at the site, with FLARE's own `cert` commands: what is signed, what is refused, and that no half stays."""

import datetime
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from almoner.errors import AlmonerError, DocumentError, PolicyViolation, ProvisioningError
from almoner.flare.kits import flare_cert, issuing, joining, keys_at_site
from almoner.flare.kits.keys_at_site import OperatorFolder
from almoner.flare.kits.provisioning import declarations_of_folder
from almoner.flare.site.site_files import load_kit
from almoner.flare.start import run
from almoner.privacy.ledger import Ledger
from almoner.provision.manifest import verify_kit
from almoner.provision.roster import fingerprint
from almoner.provision.roster_approval import KEY_PATH, approve
from almoner.schema.base import digest

LEAD = "lead@cleveland.example"
SITES = ("cleveland", "hungary", "switzerland", "va-long-beach")
PEM_BEGIN = b"PRIVATE KEY-----"


class World:
    """An operator's folder, and the folders of sites and a user that it never sees."""

    def __init__(self, root: Path, top: Path) -> None:
        self.root, self.top, self.out = root, top, top / "operator"

    def operator(self) -> OperatorFolder:
        return keys_at_site.open_folder(self.root, self.out)

    def request(self, name: str, put: bool = True) -> joining.Requested:
        made = joining.request_certificate(self.out / "requests" / f"{name}.yaml", self.top / name)
        if put:
            shutil.copy(made.archive, self.out / "requests")
        return made

    def approve(self) -> list[Path]:
        requests = keys_at_site.read_requests(self.operator()).values()
        return issuing.issue(self.operator(), [request for _, request in requests if request is not None])

    def package(self, name: str) -> Path:
        return self.out / "packages" / f"{name}.package.json"


@pytest.fixture(scope="module")
def before(root: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Root and forms are made, and requests of all sites and one user; nothing is signed."""
    world = World(root, tmp_path_factory.mktemp("requested"))
    keys_at_site.begin(root, world.out, 8765)
    for name in (*SITES, LEAD):
        world.request(name)
    return world


@pytest.fixture(scope="module")
def signed(before: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """All certificates are issued and all packages written; nobody has joined."""
    top = tmp_path_factory.mktemp("signed") / "world"
    shutil.copytree(before.top, top)
    world = World(before.root, top)
    world.approve()
    return world


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[World], World]:
    """Return a function that copies a world, to be damaged."""

    def make(world: World) -> World:
        shutil.copytree(world.top, tmp_path / "copy")
        return World(world.root, tmp_path / "copy")

    return make


def files_of(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest(path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_what_the_operator_begins_with(before: World) -> None:
    held = {path.name for path in before.out.rglob("*") if path.is_file() and PEM_BEGIN in path.read_bytes()}
    assert held == {"rootCA.key"}
    assert (before.out / "authority" / "rootCA.key").stat().st_mode & 0o777 == 0o600
    assert before.out.stat().st_mode & 0o777 == 0o700
    states = {name: standing.state for name, (standing, _) in keys_at_site.read_requests(before.operator()).items()}
    assert {name for name, state in states.items() if state == "requested"} == {*SITES, LEAD}
    assert states["officer@hungary.example"] == "no request"


def test_a_folder_is_never_begun_anew(before: World, root: Path) -> None:
    known = files_of(before.out)
    with pytest.raises(ProvisioningError, match="exists already"):
        keys_at_site.begin(root, before.out, 8765)
    assert files_of(before.out) == known


def test_a_folder_knows_which_of_the_declared_consortia_it_is_of(root: Path, before: World, tmp_path: Path) -> None:
    keys_at_site.begin(root, tmp_path / "banks", 8765, "banks")
    assert keys_at_site.open_folder(root, tmp_path / "banks").declarations.consortium.name == "bank-consortium"
    assert declarations_of_folder(root, before.out).declared == "consortium"
    (tmp_path / "banks" / "declared").write_text("../banks\n")
    with pytest.raises(DocumentError, match=r"declares no consortium '../banks'"):
        keys_at_site.open_folder(root, tmp_path / "banks")
    (tmp_path / "banks" / "declared").unlink()  # as folders were made before there were several
    with pytest.raises(ProvisioningError, match="is of another consortium"):
        keys_at_site.open_folder(root, tmp_path / "banks")


def test_a_failure_of_flare_leaves_nothing(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_at_site, "_profile", lambda consortium, port: {"name": "../x"})
    with pytest.raises(ProvisioningError, match=r"^nvflare cert init failed: Invalid project name"):
        keys_at_site.begin(root, tmp_path / "out", 8765)
    assert not list(tmp_path.iterdir())


def test_the_key_stays_where_it_was_made(before: World) -> None:
    folder = before.top / "cleveland"
    key = folder / "request" / "cleveland.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o077 == (folder / "request").stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(folder / "request" / "cleveland.request.zip") as archive:
        assert all(PEM_BEGIN not in archive.read(name) for name in archive.namelist())
    assert [path.name for path in folder.iterdir()] == ["request"]


def test_a_second_key_is_not_made_by_accident(before: World) -> None:
    with pytest.raises(ProvisioningError, match="a key was made already"):
        before.request("cleveland")


def test_one_bad_request_and_nothing_is_signed(before: World, copy: Callable[[World], World]) -> None:
    world = copy(before)
    requests = world.out / "requests"
    shutil.copy(requests / "hungary.request.zip", requests / "cleveland.request.zip")
    known = files_of(world.out)
    with pytest.raises(ProvisioningError, match=r"does not hold exactly request\.json, site\.yaml, cleveland\.csr"):
        world.approve()
    assert files_of(world.out) == known


def test_a_request_of_nobody(before: World, copy: Callable[[World], World]) -> None:
    world = copy(before)
    requests = world.out / "requests"
    shutil.copy(requests / "hungary.request.zip", requests / "zurich.request.zip")
    with pytest.raises(ProvisioningError, match=r"zurich.request.zip: is no request of a site or user"):
        world.approve()


def test_one_key_for_two_sites(before: World, copy: Callable[[World], World]) -> None:
    world = copy(before)
    path = world.out / "requests" / "hungary.request.zip"
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    key = load_pem_private_key((world.top / "cleveland" / "request" / "cleveland.key").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    subject = x509.load_pem_x509_csr(files["hungary.csr"]).subject
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    files["hungary.csr"] = csr.public_bytes(Encoding.PEM)
    path.write_bytes(zipped(files))
    with pytest.raises(ProvisioningError, match=r"hungary.request.zip: has the key of cleveland"):
        world.approve()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_packages_wait_for_every_site(before: World, copy: Callable[[World], World]) -> None:
    world = copy(before)
    for name in ("hungary", "switzerland", "va-long-beach", LEAD):
        (world.out / "requests" / f"{name}.request.zip").unlink()
    assert world.approve() == []
    assert {path.name for path in (world.out / "authority" / "certificates").iterdir()} == {"cleveland.crt"}
    assert not (world.out / "packages").exists()
    assert not (world.out / "server").exists()


def test_what_flare_issues_is_what_was_asked_for(
    before: World, copy: Callable[[World], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = copy(before)
    other = flare_cert.approve_request(
        (world.out / "requests" / "hungary.request.zip").read_bytes(),
        "hungary",
        world.out / "authority",
        world.out / "authority" / "profile.yaml",
    )
    monkeypatch.setattr(flare_cert, "approve_request", lambda *arguments: other)
    with pytest.raises(ProvisioningError, match="FLARE issued a certificate that was not asked for"):
        world.approve()
    assert not (world.out / "authority" / "certificates").exists()


def test_the_operator_holds_the_roots_and_the_servers_key_alone(signed: World) -> None:
    held = {path.name for path in signed.out.rglob("*") if path.is_file() and PEM_BEGIN in path.read_bytes()}
    assert held == {"rootCA.key", "server.key"}
    verify_kit(signed.out / "server" / "kit")
    assert {path.name for path in signed.out.iterdir()} == {"authority", "declared", "requests", "packages", "server"}
    for site in SITES:
        package = json.loads(signed.package(site).read_bytes())
        assert package["site"]["roster"]["keys"] == "site"
        assert "startup/client.key" not in json.loads(package["manifest"])["files"]


def test_certificates_are_for_no_longer_than_three_years_and_sign_nothing(signed: World) -> None:
    pem = (signed.out / "authority" / "certificates" / "cleveland.crt").read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == datetime.timedelta(days=1095)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_running_it_again_changes_nothing(signed: World, copy: Callable[[World], World]) -> None:
    world = copy(signed)
    known = files_of(world.out)
    assert world.approve() == []
    assert files_of(world.out) == known


def test_a_user_who_comes_later(signed: World, copy: Callable[[World], World]) -> None:
    world = copy(signed)
    known = files_of(world.out)
    world.request("officer@hungary.example")
    assert [path.name for path in world.approve()] == ["officer@hungary.example.package.json"]
    now = files_of(world.out)
    assert known.items() <= now.items()
    assert len(now) == len(known) + 3  # request, certificate, package


def test_a_second_request_with_another_key(signed: World, copy: Callable[[World], World]) -> None:
    world = copy(signed)
    shutil.rmtree(world.top / "cleveland")
    world.request("cleveland")
    with pytest.raises(ProvisioningError, match="cleveland has a certificate for another key already"):
        world.approve()


def test_new_declarations(signed: World, copy: Callable[[World], World], tmp_path: Path) -> None:
    """As the README says: new packages, a new roster, a new approval; keys, certificates and ledgers stay."""
    world = copy(signed)
    folder = world.top / "cleveland"
    joining.join(world.package("cleveland"), folder)
    first = joining.load_joined(folder)
    approve(first, first.roster_sha256)
    world.root = tmp_path / "declared"
    for name in ("provisioning", "policies", "site_configs"):
        shutil.copytree(signed.root / name, world.root / name)
    replace(world.root / "site_configs" / "hungary.yaml", "nominal_records: 183", "nominal_records: 184")
    added = "  - {name: new@hungary.example, org: hungary, role: member}\nroles:"
    replace(world.root / "provisioning" / "consortium.yaml", "roles:", added)
    keys_at_site.write_forms(world.operator())
    assert (world.out / "requests" / "new@hungary.example.yaml").is_file()
    known = files_of(world.out / "authority"), files_of(folder / "ledger")
    shutil.rmtree(world.out / "packages")
    shutil.rmtree(world.out / "server" / "kit")
    assert len(world.approve()) == len(SITES) + 1
    shutil.rmtree(folder / "kit")
    kit = joining.join(world.package("cleveland"), folder)
    assert (files_of(world.out / "authority"), files_of(folder / "ledger")) == known
    second = joining.load_joined(folder)
    assert second.roster_sha256 != first.roster_sha256
    assert second.key.private_numbers() == first.key.private_numbers()
    with pytest.raises(ProvisioningError, match="has not approved the roster yet"):
        verify_kit(kit)


@pytest.mark.threat("T-157")
def test_a_revoked_certificate_is_replaced_for_another_key_alone(
    signed: World, copy: Callable[[World], World], tmp_path: Path
) -> None:
    """The request of the stolen key still lies in the operator's folder: it must not give it a new certificate."""
    world = copy(signed)
    world.root = tmp_path / "declared"
    for name in ("provisioning", "policies", "site_configs"):
        shutil.copytree(signed.root / name, world.root / name)
    certificate = world.out / "authority" / "certificates" / f"{LEAD}.crt"
    stolen = certificate.read_bytes()
    name = fingerprint(x509.load_pem_x509_certificate(stolen))
    with (world.root / "policies" / "consortium.yaml").open("a") as floor:
        floor.write(f"revoked:\n  - {{certificate_sha256: {name}, since: 2026-11-20, reason: stolen}}\n")
    shutil.rmtree(world.out / "packages")
    shutil.rmtree(world.out / "server" / "kit")
    assert {path.name for path in world.approve()} == {f"{site}.package.json" for site in SITES}
    assert certificate.read_bytes() == stolen
    assert keys_at_site.read_requests(world.operator())[LEAD][0].state == "revoked"
    joining.join(world.package("cleveland"), world.top / "cleveland", world.root / "policies" / "cleveland.yaml")
    [entry] = load_kit(world.top / "cleveland" / "kit").policy.revoked
    assert entry.certificate_sha256 == name
    shutil.rmtree(world.top / LEAD)
    world.request(LEAD)
    assert [path.name for path in world.approve()] == [f"{LEAD}.package.json"]
    new, old = (x509.load_pem_x509_certificate(pem) for pem in (certificate.read_bytes(), stolen))
    assert (new.subject, new.public_key() == old.public_key()) == (old.subject, False)
    assert keys_at_site.read_requests(world.operator())[LEAD][0].state == "issued"


@pytest.mark.threat("T-157")
def test_a_site_whose_certificate_is_revoked_holds_up_the_packages(
    signed: World, copy: Callable[[World], World], tmp_path: Path
) -> None:
    """The roster would name it: a list of revoked certificates and a roster never contradict each other."""
    world = copy(signed)
    world.root = tmp_path / "declared"
    for name in ("provisioning", "policies", "site_configs"):
        shutil.copytree(signed.root / name, world.root / name)
    pem = (world.out / "authority" / "certificates" / "hungary.crt").read_bytes()
    name = fingerprint(x509.load_pem_x509_certificate(pem))
    with (world.root / "policies" / "consortium.yaml").open("a") as floor:
        floor.write(f"revoked:\n  - {{certificate_sha256: {name}, since: 2026-11-20, reason: stolen}}\n")
    shutil.rmtree(world.out / "packages")
    shutil.rmtree(world.out / "server" / "kit")
    assert world.approve() == []


def test_a_role_that_changed_after_the_certificate(
    signed: World, copy: Callable[[World], World], tmp_path: Path
) -> None:
    """A lead's certificate would go on as one, until it is revoked."""
    world = copy(signed)
    world.root = tmp_path / "declared"
    for name in ("provisioning", "policies", "site_configs"):
        shutil.copytree(signed.root / name, world.root / name)
    replace(world.root / "provisioning" / "consortium.yaml", "role: lead", "role: member")
    with pytest.raises(ProvisioningError, match=r"crt: is of another organisation or role than is declared"):
        world.approve()


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_the_folder_of_another_consortium(signed: World, copy: Callable[[World], World]) -> None:
    world = copy(signed)
    profile = world.out / "authority" / "profile.yaml"
    profile.write_text(profile.read_text().replace("heart-consortium", "other"))
    with pytest.raises(ProvisioningError, match="is of another consortium or server"):
        world.operator()
    profile.unlink()
    with pytest.raises(ProvisioningError, match="not a folder of `almoner provision --keys-at-site`"):
        world.operator()


class TestJoin:
    @pytest.fixture
    def world(self, signed: World, copy: Callable[[World], World]) -> World:
        return copy(signed)

    def test_a_site(self, world: World) -> None:
        folder = world.top / "cleveland"
        kit = joining.join(world.package("cleveland"), folder)
        assert (kit / KEY_PATH).read_bytes() == (folder / "request" / "cleveland.key").read_bytes()
        assert all(path.stat().st_mode & 0o077 == 0 for path in [kit, *kit.rglob("*")])
        assert {path.name for path in folder.iterdir()} == {"request", "kit", "ledger"}
        with pytest.raises(ProvisioningError, match="has not approved the roster yet"):
            run(kit)
        pending = joining.load_joined(folder)
        approve(pending, pending.roster_sha256)
        verify_kit(kit)

    def test_a_user(self, world: World) -> None:
        folder = world.top / LEAD
        kit = joining.join(world.package(LEAD), folder)
        assert (kit / "startup" / "fed_admin.json").is_file()
        assert (kit / KEY_PATH).read_bytes() == (folder / "request" / f"{LEAD}.key").read_bytes()
        assert {path.name for path in folder.iterdir()} == {"request", "kit"}

    def test_joining_again_keeps_the_ledger(self, world: World) -> None:
        folder = world.top / "cleveland"
        kit = joining.join(world.package("cleveland"), folder)
        known = files_of(folder / "ledger")
        with pytest.raises(ProvisioningError, match="exists already"):
            joining.join(world.package("cleveland"), folder)
        shutil.rmtree(kit)
        joining.join(world.package("cleveland"), folder)
        assert files_of(folder / "ledger") == known
        with Ledger.open(folder / "ledger" / "ledger.sqlite") as ledger:
            assert ledger.site == "cleveland"

    def test_the_package_of_another_site(self, world: World) -> None:
        self.refused(world, "hungary", "holds no key of hungary")

    def test_without_a_key(self, world: World) -> None:
        (world.top / "cleveland" / "request" / "cleveland.key").unlink()
        self.refused(world, "cleveland", "holds no key of cleveland")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda p: p.update(port=9999), "is not what almoner"),
            (lambda p: p.update(certificate_pem=p["site"]["roster"]["sites"][1]["certificate_pem"]), "another name"),
            (lambda p: p.update(root_pem=p["certificate_pem"]), "not signed by the consortium's root"),
            (lambda p: p["form"].update(role="lead"), "is for another name, organisation"),
            (lambda p: p["consortium"]["sites"].remove("cleveland"), "org cleveland, which has no site"),
            (lambda p: p.update(site=None), "a site's package has policy and roster"),
            (lambda p: p["site"]["roster"].update(keys="central"), "with keys made there"),
            (lambda p: p["site"]["roster"]["sites"].pop(), "almoner_roster.json: was changed"),
            (lambda p: p["site"]["policy"].update(site="hungary"), "is not that of cleveland"),
            (lambda p: p["site"]["policy"].update(release_final_model=False), "almoner_policy.yaml: was changed"),
            (lambda p: p["site"]["config"].update(site="hungary"), "is not that of cleveland"),
            (lambda p: p["site"]["floor"].update(consortium="other"), "another consortium's"),
            (lambda p: p.update(manifest=p["manifest"].replace("start.sh", "stop.sh")), "signature does not verify"),
            (lambda p: p.update(manifest_signature="0" * 512), "signature does not verify"),
        ],
    )
    def test_a_package_that_was_changed(
        self, world: World, change: Callable[[dict[str, Any]], object], message: str
    ) -> None:
        path = world.package("cleveland")
        package = json.loads(path.read_bytes())
        change(package)
        path.write_text(json.dumps(package))
        self.refused(world, "cleveland", message)

    def test_a_policy_looser_than_the_floor(self, world: World) -> None:
        path = world.package("cleveland")
        package = json.loads(path.read_bytes())
        package["site"]["policy"]["limits"]["max_rounds"] = 51
        path.write_text(json.dumps(package))
        self.refused(world, "cleveland", "looser than the consortium's floor", PolicyViolation)

    def test_an_operator_that_loosens_the_policy_within_the_floor(self, world: World, tmp_path: Path) -> None:
        """All signatures are right; only the site's own copy tells."""
        own = tmp_path / "own.yaml"
        text = (world.root / "policies" / "cleveland.yaml").read_text()
        own.write_text(text.replace("max_rounds: 50", "max_rounds: 20"))
        folder = world.top / "cleveland"
        with pytest.raises(ProvisioningError, match=r"its policy differs from .*own\.yaml in limits"):
            joining.join(world.package("cleveland"), folder, own)
        assert [path.name for path in folder.iterdir()] == ["request"]
        config = world.root / "site_configs" / "hungary.yaml"
        with pytest.raises(ProvisioningError, match=r"its site config differs from .*hungary\.yaml in datasets, site"):
            joining.join(world.package("cleveland"), folder, site_config=config)
        joining.join(
            world.package("cleveland"),
            folder,
            world.root / "policies" / "cleveland.yaml",
            world.root / "site_configs" / "cleveland.yaml",
        )

    def test_another_version_of_the_software(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        from almoner.provision import kit_files

        monkeypatch.setattr(kit_files, "render_privacy", lambda: {"scopes": []})
        self.refused(world, "cleveland", r"is not what almoner .* renders here \(local/privacy.json: was changed")

    def test_a_roster_with_the_operators_key_for_this_site(self, world: World) -> None:
        """The root signs anything; the site knows its own key."""
        made = joining.request_certificate(world.out / "requests" / "cleveland.yaml", world.top / "operators-own")
        shutil.copy(made.archive, world.out / "requests")
        (world.out / "authority" / "certificates" / "cleveland.crt").unlink()
        shutil.rmtree(world.out / "packages")
        shutil.rmtree(world.out / "server" / "kit")
        assert world.package("cleveland") in world.approve()
        self.refused(world, "cleveland", "its certificate is not for the key that was made here")

    def refused(self, world: World, package: str, message: str, error: type[AlmonerError] = AlmonerError) -> None:
        folder = world.top / "cleveland"
        known = files_of(folder)
        with pytest.raises(error, match=message) as caught:
            joining.join(world.package(package), folder)
        assert str(caught.value).isprintable()
        assert files_of(folder) == known
        assert [path.name for path in folder.iterdir()] == ["request"]
