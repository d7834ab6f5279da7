"""The operator's half of keys made at the site: root and forms first, then certificates, server kit and packages.

The operator's folder holds the root's key and the server's, and no other: requests come in with public keys, packages
go out with certificates.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from almoner import __version__
from almoner.data.atomic import write_atomically
from almoner.errors import ProvisioningError
from almoner.flare import flare_cert
from almoner.flare.issued_kits import IssuedCertificateBuilder, render_signed_kits
from almoner.flare.provisioning import verify_policies
from almoner.provision.issued import load_certificate, subject_of, verify_directly_issued
from almoner.provision.names import MANIFEST_FILE, MANIFEST_SIGNATURE_FILE
from almoner.provision.requests import CertificateRequest, key_fingerprint, read_request, render_forms
from almoner.provision.roster import fingerprint, render_roster
from almoner.schema.base import org_code
from almoner.schema.consortium import Consortium, Roster
from almoner.schema.declarations import Declarations, load_declarations
from almoner.schema.enrolment import KitPackage, RequestForm, SiteDocuments

MAX_ARCHIVE_BYTES = 1_000_000


@dataclass(frozen=True)
class Standing:
    """How far a site or user has come.

    Args:
        key_sha256: the fingerprint of its public key, once there is a request.
    """

    form: RequestForm
    state: Literal["no request", "requested", "issued"]
    key_sha256: str = ""


@dataclass(frozen=True)
class OperatorFolder:
    """The folder that `begin` made, and the declarations as they are now."""

    root: Path
    declarations: Declarations

    @property
    def authority(self) -> Path:
        """The root's key and certificate, and the certificates that it issued."""
        return self.root / "authority"

    @property
    def profile(self) -> Path:
        """What FLARE is told about the consortium."""
        return self.authority / "profile.yaml"

    @property
    def root_certificate(self) -> x509.Certificate:
        """The consortium's root certificate."""
        path = self.authority / "rootCA.pem"
        return load_certificate(path.read_bytes(), str(path))

    @property
    def port(self) -> int:
        """The server's port."""
        return int(json.loads(self.profile.read_bytes())["server"]["fed_learn_port"])

    def certificate(self, name: str) -> Path:
        """Where an issued certificate lies."""
        return self.authority / "certificates" / f"{name}.crt"

    def request(self, name: str) -> Path:
        """Where the operator puts a request that came in."""
        return self.root / "requests" / f"{name}.request.zip"

    def package(self, name: str) -> Path:
        """Where a package to be sent lies."""
        return self.root / "packages" / f"{name}.package.json"


def _profile(consortium: Consortium, port: int) -> dict[str, Any]:
    """Return what FLARE calls the project profile."""
    server = {"host": consortium.server.host, "fed_learn_port": port, "admin_port": port}
    return {"name": consortium.name, "scheme": "grpc", "connection_security": "mtls", "server": server}


def begin(declarations_root: Path, out: Path, port: int) -> OperatorFolder:
    """Make a consortium's root key, and a form for every site and user.

    Args:
        out: a folder that does not exist yet.

    Raises:
        ProvisioningError: the folder exists, or FLARE failed.
        DocumentError, PolicyViolation: a declaration is wrong.
    """
    declarations = load_declarations(declarations_root)
    verify_policies(declarations_root, declarations)
    if out.exists():
        raise ProvisioningError(f"{out}: exists already → give a new folder; a root key is never made anew")
    folder = OperatorFolder(out, declarations)
    try:
        folder.authority.mkdir(parents=True, mode=0o700)
        out.chmod(0o700)
        flare_cert.make_root(_profile(declarations.consortium, port), folder.authority)
        for name, form in render_forms(declarations.consortium).items():
            write_atomically(out / "requests" / f"{name}.yaml", (form.model_dump_json(indent=2) + "\n").encode())
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        raise ProvisioningError(f"{out}: cannot be made: {error.strerror} → give another folder") from None
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return folder


def open_folder(declarations_root: Path, out: Path) -> OperatorFolder:
    """Open a folder that `begin` made.

    Raises:
        ProvisioningError: it is none, or of another consortium or server.
    """
    declarations = load_declarations(declarations_root)
    verify_policies(declarations_root, declarations)
    folder = OperatorFolder(out, declarations)
    try:
        made_for = json.loads(folder.profile.read_bytes())
    except (OSError, ValueError):
        raise ProvisioningError(f"{out}: not a folder of `almoner provision --keys-at-site` → make one") from None
    if made_for != _profile(declarations.consortium, folder.port):
        raise ProvisioningError(f"{out}: is of another consortium or server than {declarations_root} → give its folder")
    return folder


def read_requests(folder: OperatorFolder) -> dict[str, tuple[Standing, CertificateRequest | None]]:
    """Check every request that came in; return how each site and user stands, and the request if it is to be signed.

    Raises:
        ProvisioningError: a request is not what its form says, of nobody, or brings a key that another one has.
    """
    forms = render_forms(folder.declarations.consortium)
    for path in sorted((folder.root / "requests").glob("*.zip")):
        if path.name.removesuffix(".request.zip") not in forms:
            raise ProvisioningError(f"{path}: is no request of a site or user of consortium.yaml → remove it")
    owners = {key_fingerprint(folder.root_certificate.public_key()): "the root"}
    found = {}
    for name, form in forms.items():
        standing, request = _standing(folder, form)
        if standing.key_sha256 and (owner := owners.setdefault(standing.key_sha256, name)) != name:
            raise ProvisioningError(f"{folder.request(name)}: has the key of {owner} → ask {name} for a new request")
        found[name] = standing, request
    return found


def _standing(folder: OperatorFolder, form: RequestForm) -> tuple[Standing, CertificateRequest | None]:
    """Return how one site or user stands."""
    path, certificate = folder.request(form.name), folder.certificate(form.name)
    request = read_request(_read_limited(path), form, str(path)) if path.is_file() else None
    if not certificate.is_file():
        if request is None:
            return Standing(form, "no request"), None
        return Standing(form, "requested", request.key_sha256), request
    issued = key_fingerprint(load_certificate(certificate.read_bytes(), str(certificate)).public_key())
    if request is not None and request.key_sha256 != issued:
        raise ProvisioningError(f"{path}: {form.name} has a certificate for another key already → remove this request")
    return Standing(form, "issued", issued), None


def _read_limited(path: Path) -> bytes:
    """Read a file that others sent."""
    with path.open("rb") as file:
        data = file.read(MAX_ARCHIVE_BYTES + 1)
    if len(data) > MAX_ARCHIVE_BYTES:
        raise ProvisioningError(f"{path}: larger than any request → remove it")
    return data


def issue(folder: OperatorFolder, requests: list[CertificateRequest]) -> list[Path]:
    """Have certificates issued; once every site has one, write the server's kit and the packages.

    *Guarantee*: all requests get their certificates, or none. What was written before is never written anew.

    Returns:
        The packages that are new.

    Raises:
        ProvisioningError: FLARE failed, or issued something else than was asked for.
    """
    issued = {request.form.name: _issue_one(folder, request) for request in requests}
    for name, pem in issued.items():
        write_atomically(folder.certificate(name), pem)
    if not all(folder.certificate(site).is_file() for site in folder.declarations.consortium.sites):
        return []
    with tempfile.TemporaryDirectory(dir=folder.root, prefix=".rendering-") as scratch:
        return _render(folder, Path(scratch))


def _issue_one(folder: OperatorFolder, request: CertificateRequest) -> bytes:
    """Have one certificate issued, and check it."""
    form = request.form
    pem = flare_cert.approve_request(request.archive, form.name, folder.authority, folder.profile)
    certificate = load_certificate(pem, form.name)
    verify_directly_issued(certificate, folder.root_certificate)
    subject = subject_of(certificate.subject)
    if certificate.public_key() != request.public_key or subject != (form.name, org_code(form.org), form.role):
        raise ProvisioningError(f"{form.name}: FLARE issued a certificate that was not asked for → see its version")
    return pem


def _render(folder: OperatorFolder, scratch: Path) -> list[Path]:
    """Write what is missing of server kit and packages."""
    forms = render_forms(folder.declarations.consortium)
    issued = {name: folder.certificate(name).read_bytes() for name in forms if folder.certificate(name).is_file()}
    sites = {name: issued[name].decode() for name in folder.declarations.consortium.sites}
    roster = render_roster(folder.declarations, sites, keys="site")
    server_home, host = folder.root / "server", folder.declarations.consortium.server.host
    server = None if server_home.exists() else _make_server(folder, scratch / "server-key")
    root_key = load_pem_private_key((folder.authority / "rootCA.key").read_bytes(), password=None)
    if not isinstance(root_key, rsa.RSAPrivateKey):
        raise ProvisioningError(f"{folder.authority / 'rootCA.key'}: not an RSA key → restore the folder")
    builder = IssuedCertificateBuilder(
        issued | ({host: server[0]} if server else {}),
        (folder.authority / "rootCA.pem").read_bytes(),
        server[1] if server else None,
        root_key,
    )
    kits = render_signed_kits(folder.declarations, roster, builder, folder.port, scratch / "kits")
    new = [name for name in issued if not folder.package(name).exists()]
    for name in new:
        package = _package(folder, forms[name], roster, kits / name)
        write_atomically(folder.package(name), package.model_dump_json(indent=1).encode())
    if server:
        home = scratch / "server"
        home.mkdir(mode=0o700)
        shutil.move(kits / host, home / "kit")
        home.rename(server_home)
    return [folder.package(name) for name in new]


def _make_server(folder: OperatorFolder, scratch: Path) -> tuple[bytes, bytes]:
    """Make the server's key and have its certificate issued; return certificate and key."""
    entry = folder.declarations.consortium.server
    definition = {"name": entry.host, "type": "server", "org": org_code(entry.org)}
    participant = {"name": folder.declarations.consortium.name, "participants": [definition]}
    key, request = flare_cert.make_request(participant, scratch)
    pem = flare_cert.approve_request(request.read_bytes(), entry.host, folder.authority, folder.profile)
    return pem, key.read_bytes()


def _package(folder: OperatorFolder, form: RequestForm, roster: Roster, kit: Path) -> KitPackage:
    """Return what is sent to a site or user."""
    declared, site = folder.declarations, None
    if form.role == "client":
        site = SiteDocuments(
            schema_version=1,
            roster=roster,
            floor=declared.floor,
            policy=declared.policies[form.name],
            config=declared.sites[form.name],
        )
    return KitPackage(
        schema_version=1,
        almoner_version=__version__,
        form=form,
        consortium=declared.consortium,
        port=folder.port,
        certificate_pem=(kit / "startup" / "client.crt").read_text(),
        root_pem=(kit / "startup" / "rootCA.pem").read_text(),
        site=site,
        manifest=(kit / "startup" / MANIFEST_FILE).read_text(),
        manifest_signature=(kit / "startup" / MANIFEST_SIGNATURE_FILE).read_bytes().hex(),
    )


def root_fingerprint(folder: OperatorFolder) -> str:
    """Return the SHA-256 of the root certificate."""
    return fingerprint(folder.root_certificate)
