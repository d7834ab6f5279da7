"""The operator's folder for keys made at the site: root and forms, and the requests that come in; see `issuing`.

It holds the root's key, later the server's, and no other: requests come in with public keys, packages go out with
certificates.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography import x509

from almoner.admission.lattice import verify_policies
from almoner.data.atomic import write_atomically
from almoner.errors import ProvisioningError
from almoner.flare.kits import flare_cert
from almoner.flare.kits.provisioning import declarations_of_folder, write_declared
from almoner.provision.issued import load_certificate, subject_of
from almoner.provision.requests import CertificateRequest, key_fingerprint, read_request, render_forms
from almoner.provision.roster import fingerprint
from almoner.schema.base import org_code
from almoner.schema.consortium import Consortium
from almoner.schema.declarations import Declarations, load_declarations
from almoner.schema.enrolment import RequestForm

MAX_ARCHIVE_BYTES = 1_000_000


@dataclass(frozen=True)
class Standing:
    """How far a site or user has come.

    Args:
        key_sha256: the fingerprint of its public key, once there is a request.
    """

    form: RequestForm
    state: Literal["no request", "requested", "issued", "revoked"]
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

    def is_revoked(self, name: str) -> bool:
        """Say whether the consortium's floor revokes, from whatever day on, the certificate that somebody has."""
        path = self.certificate(name)
        if not path.is_file():
            return False
        held = fingerprint(load_certificate(path.read_bytes(), str(path)))
        return held in {one.certificate_sha256 for one in self.declarations.floor.revoked}

    def has_certificate(self, name: str) -> bool:
        """Say whether somebody has a certificate that the floor does not revoke."""
        return self.certificate(name).is_file() and not self.is_revoked(name)

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


def begin(declarations_root: Path, out: Path, port: int, declared: str | None = None) -> OperatorFolder:
    """Make a consortium's root key, and a form for every site and user.

    Args:
        out: a folder that does not exist yet.
        declared: which of the declared consortia; see `load_declarations`.

    Raises:
        ProvisioningError: the folder exists, or FLARE failed.
        DocumentError, PolicyViolation: a declaration is wrong.
    """
    declarations = load_declarations(declarations_root, declared)
    verify_policies(declarations_root, declarations)
    if out.exists():
        raise ProvisioningError(f"{out}: exists already → give a new folder; a root key is never made anew")
    folder = OperatorFolder(out, declarations)
    try:
        folder.authority.mkdir(parents=True, mode=0o700)
        out.chmod(0o700)
        write_declared(out, declarations)
        flare_cert.make_root(_profile(declarations.consortium, port), folder.authority)
        write_forms(folder)
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        raise ProvisioningError(f"{out}: cannot be made: {error.strerror} → give another folder") from None
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return folder


def write_forms(folder: OperatorFolder) -> None:
    """Write a form for every site and user that has none yet."""
    for name, form in render_forms(folder.declarations.consortium).items():
        path = folder.root / "requests" / f"{name}.yaml"
        if not path.exists():
            write_atomically(path, (form.model_dump_json(indent=2) + "\n").encode())


def open_folder(declarations_root: Path, out: Path) -> OperatorFolder:
    """Open a folder that `begin` made.

    Raises:
        ProvisioningError: it is none, or of another consortium or server.
    """
    declarations = declarations_of_folder(declarations_root, out)
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
            raise ProvisioningError(f"{path}: is no request of a site or user of the consortium → remove it")
    owners = {key_fingerprint(folder.root_certificate.public_key()): "the root"}
    found = {}
    for name, form in forms.items():
        standing, request = _standing(folder, form)
        if standing.key_sha256 and (owner := owners.setdefault(standing.key_sha256, name)) != name:
            raise ProvisioningError(f"{folder.request(name)}: has the key of {owner} → ask {name} for a new request")
        found[name] = standing, request
    return found


def _standing(folder: OperatorFolder, form: RequestForm) -> tuple[Standing, CertificateRequest | None]:
    """Return how one site or user stands; for a revoked certificate only another key gets a new one."""
    issued = _issued_key(folder.certificate(form.name), form)
    path = folder.request(form.name)
    request = read_request(_read_limited(path), form, str(path)) if path.is_file() else None
    if issued is not None and (request is None or request.key_sha256 == issued):
        return Standing(form, "revoked" if folder.is_revoked(form.name) else "issued", issued), None
    if issued is not None and not folder.is_revoked(form.name):
        raise ProvisioningError(f"{path}: {form.name} has a certificate for another key already → remove this request")
    if request is None:
        return Standing(form, "no request"), None
    return Standing(form, "requested", request.key_sha256), request


def _issued_key(path: Path, form: RequestForm) -> str | None:
    """Return the fingerprint of the key that a certificate was issued for; None if none was."""
    if not path.is_file():
        return None
    certificate = load_certificate(path.read_bytes(), str(path))
    if subject_of(certificate.subject) != (form.name, org_code(form.org), form.role):
        raise ProvisioningError(f"{path}: is of another organisation or role than is declared → use a new name")
    return key_fingerprint(certificate.public_key())


def _read_limited(path: Path) -> bytes:
    """Read a file that others sent."""
    with path.open("rb") as file:
        data = file.read(MAX_ARCHIVE_BYTES + 1)
    if len(data) > MAX_ARCHIVE_BYTES:
        raise ProvisioningError(f"{path}: larger than any request → remove it")
    return data


def root_fingerprint(folder: OperatorFolder) -> str:
    """Return the SHA-256 of the root certificate."""
    return fingerprint(folder.root_certificate)
