"""Renders the forms of keys made at the site, and checks the requests that come back, before anything is signed.

*Guarantee*: a request that `read_request` accepts holds the self-signed public key of whoever sent it, under exactly
the name, organisation and role of the form, and asks for nothing else. Who sent it is not known: the two ends compare
the key's fingerprint over another channel.
"""

import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any, get_args

import yaml
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from almoner.errors import ProvisioningError
from almoner.provision.issued import subject_of
from almoner.schema.base import digest, org_code
from almoner.schema.consortium import Consortium
from almoner.schema.enrolment import CertificateRole, RequestForm

MAX_REQUEST_BYTES = 64_000
_KINDS = {"client": "site"}


@dataclass(frozen=True)
class CertificateRequest:
    """A request that was checked.

    Args:
        archive: the zip that FLARE's `cert request` wrote.
        key_sha256: SHA-256 of the public key (DER, SubjectPublicKeyInfo).
    """

    form: RequestForm
    archive: bytes
    public_key: rsa.RSAPublicKey
    key_sha256: str


def render_forms(consortium: Consortium) -> dict[str, RequestForm]:
    """Return a form for every site, and for every user whose role FLARE's `cert request` knows, by name."""
    people = [(site, site, "client") for site in consortium.sites]
    people += [(user.name, user.org, user.role) for user in consortium.users if user.role in get_args(CertificateRole)]
    return {
        name: RequestForm.model_validate(
            {"schema_version": 1, "consortium": consortium.name, "name": name, "org": org, "role": role}
        )
        for name, org, role in people
    }


def render_participant(form: RequestForm) -> dict[str, Any]:
    """Return FLARE's definition of a participant, as `nvflare cert request` reads it and sends it on."""
    participant = {"name": form.name, "type": "client", "org": org_code(form.org)}
    if form.role != "client":
        participant |= {"type": "admin", "role": form.role}
    return {"name": form.consortium, "participants": [participant]}


def key_fingerprint(key: Any) -> str:
    """Return the SHA-256 of a public key in hexadecimal."""
    return digest(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def read_request(archive: bytes, form: RequestForm, source: str) -> CertificateRequest:
    """Check a request against the form that was handed out for it.

    Args:
        archive: the zip that came back.
        source: its name, for errors.

    Raises:
        ProvisioningError: it is not a request for this name, organisation and role and nothing else.
    """
    try:
        files = _unzip(archive, form)
        _check_texts(files, form)
        key = _check_csr(files[f"{form.name}.csr"], form)
    except ProvisioningError as error:
        raise ProvisioningError(f"{source}: {error} → refused; ask {form.name} for a new request") from None
    return CertificateRequest(form, archive, key, key_fingerprint(key))


def _unzip(archive: bytes, form: RequestForm) -> dict[str, bytes]:
    """Return the three files of a request."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = opened.infolist()
            wanted = ["request.json", "site.yaml", f"{form.name}.csr"]
            if sorted(entry.filename for entry in entries) != sorted(wanted):
                raise ProvisioningError(f"it does not hold exactly {', '.join(wanted)}")
            if sum(entry.file_size for entry in entries) > MAX_REQUEST_BYTES:
                raise ProvisioningError("it is larger than any request")
            return {entry.filename: opened.open(entry).read(MAX_REQUEST_BYTES) for entry in entries}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError, ValueError):
        raise ProvisioningError("it is not a readable zip") from None


def _check_texts(files: dict[str, bytes], form: RequestForm) -> None:
    """Check that the request says of itself what the form says, and brings no settings for FLARE along."""
    definition = render_participant(form)
    if files["site.yaml"] != yaml.safe_dump(definition, sort_keys=False).encode():
        raise ProvisioningError("its site.yaml is not the one that the form makes")
    try:
        meta = json.loads(files["request.json"])
    except (ValueError, RecursionError):
        meta = None
    expected = {
        "project": form.consortium,
        "name": form.name,
        "org": org_code(form.org),
        "kind": _KINDS.get(form.role, "user"),
        "cert_type": form.role,
        "cert_role": None if form.role == "client" else form.role,
    }
    found = {field: meta.get(field) for field in expected} if isinstance(meta, dict) else {}
    wrong = next((field for field, value in expected.items() if found.get(field) != value), None)
    if wrong is not None:
        raise ProvisioningError(f"its {wrong} is not {expected[wrong]!r}, as the consortium declares it")


def _check_csr(pem: bytes, form: RequestForm) -> rsa.RSAPublicKey:
    """Check the signing request itself; return its key."""
    try:
        csr = x509.load_pem_x509_csr(pem)
        key, signed = csr.public_key(), csr.is_signature_valid
        extras = len(csr.attributes) + len(csr.extensions)
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise ProvisioningError("it holds no readable signing request") from None
    wanted = (form.name, org_code(form.org), form.role)
    if subject_of(csr.subject) != wanted or len(list(csr.subject)) != len(wanted):
        name, org, role = subject_of(csr.subject)
        raise ProvisioningError(
            f"it asks for {name!r} of {org!r} with the role {role!r}, not for {wanted[0]!r} of {wanted[1]!r} with the "
            f"role {wanted[2]!r} alone"
        )
    if extras:
        raise ProvisioningError("it asks for extensions, which no participant needs")
    if not isinstance(key, rsa.RSAPublicKey) or not 2048 <= key.key_size <= 4096 or key.public_numbers().e != 65537:
        raise ProvisioningError("its key is not an RSA key of 2048 to 4096 bits with the exponent 65537")
    if not signed or not isinstance(csr.signature_hash_algorithm, hashes.SHA256):
        raise ProvisioningError("it is not signed by its own key, with SHA-256")
    return key
