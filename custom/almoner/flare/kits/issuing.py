"""The operator's second step of keys made at the site: certificates, then the server's kit and a package for everyone.

Keys come in as requests, which `keys_at_site` has checked; certificates and documents go out.
"""

import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from almoner import __version__
from almoner.data.atomic import write_atomically
from almoner.errors import ProvisioningError
from almoner.flare.kits import flare_cert
from almoner.flare.kits.issued_kits import IssuedCertificateBuilder, render_signed_kits
from almoner.flare.kits.keys_at_site import OperatorFolder
from almoner.provision.issued import load_certificate, subject_of, verify_directly_issued
from almoner.provision.names import MANIFEST_FILE, MANIFEST_SIGNATURE_FILE
from almoner.provision.requests import CertificateRequest, render_forms
from almoner.provision.roster import render_roster
from almoner.schema.base import org_code
from almoner.schema.consortium import Roster
from almoner.schema.enrolment import KitPackage, RequestForm, SiteDocuments


def issue(folder: OperatorFolder, requests: list[CertificateRequest]) -> list[Path]:
    """Have certificates issued; once every site has one that counts, write the server's kit and the packages.

    *Guarantee*: all requests get their certificates, or none. What was written before is never written anew.

    Returns:
        The packages that are new.

    Raises:
        ProvisioningError: FLARE failed, or issued something else than was asked for.
    """
    issued = {request.form.name: _issue_one(folder, request) for request in requests}
    for name, pem in issued.items():
        write_atomically(folder.certificate(name), pem)
        folder.package(name).unlink(missing_ok=True)  # of a certificate that was revoked
    if not all(folder.has_certificate(site) for site in folder.declarations.consortium.sites):
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
    issued = {name: folder.certificate(name).read_bytes() for name in forms if folder.has_certificate(name)}
    sites = {name: issued[name].decode() for name in folder.declarations.consortium.sites}
    roster = render_roster(folder.declarations, sites, keys="site")
    server_kit, host = folder.root / "server" / "kit", folder.declarations.consortium.server.host
    server = None if server_kit.exists() else _make_server(folder, scratch / "server-key")
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
        server_kit.parent.mkdir(mode=0o700, exist_ok=True)
        (kits / host).rename(server_kit)
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
