"""Four hospitals make their own keys, join, approve the roster and connect; the operator never held a key of theirs."""

import base64
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from tests.integration.attacker import NO_JOBS

from almoner.flare.commands.federation import Federation, free_port
from almoner.flare.commands.session import open_session
from almoner.flare.kits.issuing import issue
from almoner.flare.kits.joining import join, load_joined, request_certificate
from almoner.flare.kits.keys_at_site import begin, open_folder, read_requests
from almoner.flare.kits.provisioning import load_consortium, read_port
from almoner.provision.roster_approval import APPROVAL_PATH, KEY_PATH, approve
from almoner.schema.declarations import Declarations

LEAD = "lead@cleveland.example"


@dataclass(frozen=True)
class World:
    """The operator's folder, and those of sites and a user; they exchange nothing but the files copied here."""

    operator: Path
    others: Path

    def own(self, name: str) -> Path:
        return self.others / ("homes" if "@" in name else "sites") / name


@pytest.fixture(scope="module")
def joined(root: Path, declarations: Declarations, tmp_path_factory: pytest.TempPathFactory) -> World:
    """All have made keys and joined; no site has approved the roster."""
    top = tmp_path_factory.mktemp("keys-at-site")
    world = World(top / "operator", top / "others")
    begin(root, world.operator, free_port())
    told = {}
    for name in (*declarations.consortium.sites, LEAD):
        made = request_certificate(world.operator / "requests" / f"{name}.yaml", world.own(name))
        shutil.copy(made.archive, world.operator / "requests")
        told[name] = made.key_sha256
    folder = open_folder(root, world.operator)
    requests = [request for _, request in read_requests(folder).values() if request is not None]
    assert {request.form.name: request.key_sha256 for request in requests} == told  # the telephone
    issue(folder, requests)
    for name in told:
        join(folder.package(name), world.own(name))
    return world


@pytest.fixture(scope="module")
def approved(joined: World, declarations: Declarations) -> World:
    """The data officers have compared one digest."""
    pending = [load_joined(joined.own(site)) for site in declarations.consortium.sites]
    [digest] = {each.roster_sha256 for each in pending}
    for each in pending:
        approve(each, digest)
    return joined


@pytest.fixture(scope="module")
def federation(approved: World, declarations: Declarations) -> Iterator[Federation]:
    """Server and sites as processes; the server runs in a copy, so that the operator's folder stays as it was."""
    shutil.copytree(approved.operator / "server", approved.others / "server")
    shutil.copytree(approved.own(LEAD) / "kit", approved.others / "users" / LEAD)
    consortium = load_consortium(approved.others, declarations, read_port(approved.others))
    with Federation(consortium, {"PYTHONPATH": str(Path(__file__).parent / "hooks")} | NO_JOBS) as running:
        running.start(lambda text: None)
        yield running


def forms_of(key: rsa.RSAPrivateKey) -> dict[str, bytes]:
    """Return the ways in which a private key could lie in a file: PEM, DER and its secret numbers."""
    found = {}
    for name, layout in {"PKCS8": PrivateFormat.PKCS8, "OpenSSL": PrivateFormat.TraditionalOpenSSL}.items():
        pem = key.private_bytes(Encoding.PEM, layout, NoEncryption())
        found |= {f"{name} PEM": pem, f"{name} one line": b"".join(pem.splitlines()[1:-1])}
        found[f"{name} DER"] = key.private_bytes(Encoding.DER, layout, NoEncryption())
    numbers = key.private_numbers()
    for name, number in {"p": numbers.p, "q": numbers.q, "d": numbers.d, "dmp1": numbers.dmp1}.items():
        raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
        found |= {
            f"{name} bytes": raw,
            f"{name} hex": raw.hex().encode(),
            f"{name} HEX": raw.hex().upper().encode(),
            f"{name} decimal": str(number).encode(),
            f"{name} base64": base64.b64encode(raw),
        }
    return found


def holders(folder: Path, forms: dict[str, bytes]) -> set[str]:
    """Return the files below a folder that have a private key in any form."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name for path in files for form in forms.values() if form in path.read_bytes()}


def test_the_operators_folder_never_has_a_key_of_a_site_or_user(approved: World, declarations: Declarations) -> None:
    for name in (*declarations.consortium.sites, LEAD):
        key = load_pem_private_key((approved.own(name) / "kit" / KEY_PATH).read_bytes(), password=None)
        assert isinstance(key, rsa.RSAPrivateKey)
        forms = forms_of(key)
        assert holders(approved.own(name), forms) == {"client.key", f"{name}.key"}  # the scan finds what is there
        assert holders(approved.operator, forms) == set()
    kept = [
        path for path in approved.operator.rglob("*") if path.is_file() and b"PRIVATE KEY-----" in path.read_bytes()
    ]
    assert {path.name for path in kept} == {"rootCA.key", "server.key"}


def test_no_site_has_the_key_of_another(approved: World, declarations: Declarations) -> None:
    for name in declarations.consortium.sites:
        key = load_pem_private_key((approved.own(name) / "kit" / KEY_PATH).read_bytes(), password=None)
        assert isinstance(key, rsa.RSAPrivateKey)
        for other in set(declarations.consortium.sites) - {name}:
            assert holders(approved.own(other), forms_of(key)) == set()


def start_sh(kit: Path) -> subprocess.CompletedProcess[str]:
    """Run a kit's own starter, with this environment's python first in PATH."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    command = [str(kit / "startup" / "start.sh")]
    return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=False, timeout=180)


def test_a_site_that_has_not_approved_does_not_start(joined: World, tmp_path: Path) -> None:
    shutil.copytree(joined.own("cleveland"), tmp_path / "site")
    kit = tmp_path / "site" / "kit"
    (kit / APPROVAL_PATH).unlink(missing_ok=True)
    done = start_sh(kit)
    assert done.returncode == 2
    assert "the site's data officer has not approved the roster yet" in done.stderr


def test_all_connect_and_the_user_logs_in(federation: Federation, declarations: Declarations) -> None:
    with open_session(federation.consortium.user_kit(LEAD), "cardiology") as session:
        assert session.sites() == sorted(declarations.consortium.sites)
        assert session.jobs() == []
