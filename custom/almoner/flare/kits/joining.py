"""The site's half of keys made at the site: make a key and a request, then join key and package into a kit.

The key is made here and stays here. Of the operator's package nothing is run and nothing is believed but documents: the
kit is rendered by the software installed here, and must be file by file the one whose list the root signed.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from almoner import __version__
from almoner.admission.lattice import verify_tightens
from almoner.data.atomic import write_atomically
from almoner.errors import AlmonerError, ProvisioningError
from almoner.flare.kits import flare_cert
from almoner.flare.kits.builders import close_permissions
from almoner.flare.kits.issued_kits import IssuedCertificateBuilder, render_own_kit
from almoner.flare.kits.provisioning import open_ledger
from almoner.flare.site.site_files import LEDGER
from almoner.provision.issued import load_certificate, subject_of, verify_directly_issued
from almoner.provision.manifest import verify_files
from almoner.provision.names import MANIFEST_FILE, MANIFEST_SIGNATURE_FILE
from almoner.provision.requests import key_fingerprint, render_forms, render_participant
from almoner.provision.roster_approval import KEY_PATH, PendingRoster, load_pending
from almoner.schema.base import Document, org_code
from almoner.schema.declarations import Declarations
from almoner.schema.documents import load_document
from almoner.schema.enrolment import KitPackage, RequestForm
from almoner.schema.policy import SitePolicy

_REQUEST, _FORM = "request", "form.json"


@dataclass(frozen=True)
class Requested:
    """A request that is ready to be sent.

    Args:
        archive: the file to send; it holds no private key.
        key_sha256: the fingerprint of the public key, to be read to the operator over another channel.
    """

    name: str
    archive: Path
    key_sha256: str


def request_certificate(form_path: Path, folder: Path) -> Requested:
    """Make a key and a request for its certificate in `folder/request`.

    *Guarantee*: the key has mode 600 in a folder of mode 700, and the request does not hold it.

    Raises:
        ProvisioningError: there is a request already, the folder cannot be made, or FLARE failed.
        DocumentError: the form is malformed.
    """
    form = load_document(form_path, RequestForm)
    target = folder / _REQUEST
    if target.exists():
        raise ProvisioningError(f"{target}: a key was made already → send the request in it, or remove the folder")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".request-") as scratch:
            made = Path(scratch) / "made"
            key, archive = flare_cert.make_request(render_participant(form), made)
            (made / _FORM).write_text(form.model_dump_json())
            public = load_pem_private_key(key.read_bytes(), password=None).public_key()
            made.chmod(0o700)
            made.rename(target)
    except OSError as error:
        raise ProvisioningError(f"{target}: cannot be made: {error.strerror} → give another folder") from None
    return Requested(form.name, target / archive.name, key_fingerprint(public))


def join(package_path: Path, folder: Path, policy: Path | None = None, site_config: Path | None = None) -> Path:
    """Join a package and the key of `folder/request` into `folder/kit`; a site gets its ledger too, if it has none.

    Args:
        policy: the site's own copy of its policy; the package's must say the same.
        site_config: the site's own copy of its site config, likewise.

    Returns:
        The kit. A site's does not start before `approve-roster`.

    Raises:
        ProvisioningError: the package is not for this key, not what the root signed, or there is a kit already.
        DocumentError, PolicyViolation: a document in the package is wrong.
    """
    package = load_document(package_path, KitPackage)
    kit = folder / "kit"
    if kit.exists():
        raise ProvisioningError(f"{kit}: exists already → remove it to join again; the ledger stays")
    try:
        key = _own_key(package, folder / _REQUEST)
        _check_documents(package)
        _compare(package, policy, site_config)
    except ProvisioningError as error:
        raise ProvisioningError(f"{package_path}: {error}") from None
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".joining-") as scratch:
            made = _render(package, package_path, Path(scratch))
            write_atomically(made / KEY_PATH, key)
            if package.site is not None:
                load_pending(made)
                _place_ledger(package.site.policy, Path(scratch), folder)
            made.rename(kit)
    except OSError as error:
        raise ProvisioningError(f"{kit}: cannot be made: {error.strerror} → see the disk and its rights") from None
    return kit


def _place_ledger(policy: SitePolicy, scratch: Path, folder: Path) -> None:
    """Give a site its ledger, if it has none."""
    if not (folder / LEDGER).exists():
        open_ledger(policy, scratch)
        (scratch / LEDGER).parent.rename((folder / LEDGER).parent)


def load_joined(folder: Path) -> PendingRoster:
    """Check the kit of a site that joined, up to what its data officer must approve.

    Raises:
        ProvisioningError: there is no such kit, a file of it was changed, or the operator made its key.
    """
    kit = folder / "kit"
    if not verify_files(kit):
        raise ProvisioningError(
            f"{kit}: the operator made its key, so there is nothing to approve → almoner site start"
        )
    return load_pending(kit)


def _own_key(package: KitPackage, request: Path) -> bytes:
    """Return the key that was made here, after checking that the package's certificate is for it and as asked for."""
    try:
        form, key = load_document(request / _FORM, RequestForm), (request / f"{package.form.name}.key").read_bytes()
    except (OSError, AlmonerError):
        raise ProvisioningError(
            f"{request}: holds no key of {package.form.name} → give the folder it was made in"
        ) from None
    if package.form != form or render_forms(package.consortium).get(form.name) != form:
        raise ProvisioningError(
            "is for another name, organisation, role or consortium than was asked for → send it back"
        )
    certificate = load_certificate(package.certificate_pem.encode(), "certificate")
    root = load_certificate(package.root_pem.encode(), "root certificate")
    verify_directly_issued(certificate, root)
    if subject_of(certificate.subject) != (form.name, org_code(form.org), form.role):
        raise ProvisioningError("its certificate is for another name, organisation or role → send it back")
    if certificate.public_key() != load_pem_private_key(key, password=None).public_key():
        raise ProvisioningError("its certificate is not for the key that was made here → send it back")
    return key


def _check_documents(package: KitPackage) -> None:
    """Check that a site's documents are about it, and that its policy tightens the floor."""
    name, site = package.form.name, package.site
    if (package.form.role == "client") != (site is not None):
        raise ProvisioningError("a site's package has policy and roster, a user's has none → send it back")
    if site is None:
        return
    if (site.policy.site, site.config.site) != (name, name) or site.roster.keys != "site":
        raise ProvisioningError(f"its policy, site config or roster is not that of {name} with keys made there")
    if {site.floor.consortium, site.roster.consortium} != {package.consortium.name}:
        raise ProvisioningError("its roster or floor is another consortium's → send it back")
    verify_tightens(site.policy, site.floor, "the package's policy")


def _compare(package: KitPackage, policy: Path | None, site_config: Path | None) -> None:
    """Check that the package says the same as the site's own copies."""
    if package.site is None:
        return
    pairs: list[tuple[str, Path | None, Document]] = [
        ("policy", policy, package.site.policy),
        ("site config", site_config, package.site.config),
    ]
    for what, path, document in pairs:
        if path is None:
            continue
        own = load_document(path, type(document)).model_dump()
        sent = document.model_dump()
        if differing := sorted(field for field in own if own[field] != sent[field]):
            raise ProvisioningError(f"its {what} differs from {path} in {', '.join(differing)} → ask the operator why")


def _render(package: KitPackage, source: Path, scratch: Path) -> Path:
    """Render the kit, and compare it with the list that the root signed."""
    name, site = package.form.name, package.site
    documents = None
    if site is not None:
        own = Declarations(package.consortium, site.floor, {name: site.policy}, {name: site.config})
        documents = own, site.roster
    certificates = IssuedCertificateBuilder({name: package.certificate_pem.encode()}, package.root_pem.encode())
    kit = render_own_kit(package.consortium, documents, certificates, name, package.port, scratch / "kits")
    (kit / "startup" / MANIFEST_FILE).write_text(package.manifest)
    (kit / "startup" / MANIFEST_SIGNATURE_FILE).write_bytes(bytes.fromhex(package.manifest_signature))
    close_permissions(kit)
    try:
        verify_files(kit)
    except ProvisioningError as error:
        what = str(error).partition(" → ")[0].removeprefix(f"{kit}/")
        raise ProvisioningError(
            f"{source}: is not what almoner {__version__} renders here ({what}); it was written with almoner "
            f"{package.almoner_version} → use that version, or ask for the package again"
        ) from None
    return kit
