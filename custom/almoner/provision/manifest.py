"""Signs a startup kit, and refuses to start one that is not byte for byte what was signed.

The manifest lists every file below `startup/` and `local/` with its SHA-256; the consortium's root key
signs it. A changed, added or deleted file, and a private file that others can read, is named in the error.

*Guarantee*: after `verify_kit` returns, `startup/` and `local/` hold exactly the listed files, and the list
was signed by the key of the `rootCA.pem` inside the kit. Whoever replaces the whole kit, root included,
is not detected here: compare the root's fingerprint, which provisioning prints, once by hand. A site's kit
whose roster says `keys: site` has two files more, the site's key and its approval of the roster.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa

from almoner.errors import ProvisioningError
from almoner.protection.signing import sign_with, verify_with
from almoner.provision.names import MANIFEST_FILE, MANIFEST_SIGNATURE_FILE
from almoner.provision.roster_approval import OWN_FILES, needs_approval, verify_roster_approval
from almoner.schema.base import canonical_json

_SIGNED_FOLDERS = ("startup", "local")
_MANIFEST_PATHS = (f"startup/{MANIFEST_FILE}", f"startup/{MANIFEST_SIGNATURE_FILE}")
_PRIVATE_SUFFIXES = (".key",)


def list_files(kit: Path) -> dict[str, str]:
    """Return the SHA-256 of every signed file of a kit by its relative path.

    Raises:
        ProvisioningError: for a symbolic link or anything that is not a regular file.
    """
    found = {}
    for folder in _SIGNED_FOLDERS:
        top = kit / folder
        for path in [top, *sorted(top.rglob("*"))]:
            relative = path.relative_to(kit).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir() or path == top):
                raise ProvisioningError(f"{path}: not a regular file → restore the kit that was provisioned")
            if path.is_file() and relative not in _MANIFEST_PATHS:
                found[relative] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def sign_kit(kit: Path, name: str, root_key: rsa.RSAPrivateKey) -> None:
    """Write the manifest of a kit and its signature."""
    manifest = canonical_json({"schema_version": 1, "kit": name, "files": list_files(kit)})
    (kit / "startup" / MANIFEST_FILE).write_bytes(manifest)
    signature = sign_with(root_key, manifest)
    (kit / "startup" / MANIFEST_SIGNATURE_FILE).write_bytes(signature)


def verify_kit(kit: Path) -> None:
    """Check a kit against its manifest, and its roster's approval if the sites made their keys themselves.

    Raises:
        ProvisioningError: naming the first file that was changed, added, deleted, or is open to other users; or the
            roster is not approved.
    """
    if verify_files(kit):
        verify_roster_approval(kit)


def _changed(path: Path, problem: str) -> ProvisioningError:
    """Return the error that names a file."""
    return ProvisioningError(f"{path}: {problem} after provisioning → restore the kit that was signed")


def verify_files(kit: Path) -> bool:
    """Check a kit against its manifest; return whether it needs its site's approval besides.

    Raises:
        ProvisioningError: naming the first file that was changed, added, deleted, or is open to other users.
    """
    manifest = _load_signed_manifest(kit)
    listed: dict[str, str] = manifest["files"]
    found = list_files(kit)
    own = OWN_FILES - listed.keys()
    for relative in sorted((listed.keys() | found.keys()) - own):
        if relative not in found:
            problem = "was deleted"
        elif relative not in listed:
            problem = "was added"
        elif listed[relative] != found[relative]:
            problem = "was changed"
        else:
            continue
        raise _changed(kit / relative, problem)
    made_there = needs_approval(kit)
    if made_there and own != OWN_FILES:
        raise ProvisioningError(f"{kit}: its key was made by the operator, not at the site → almoner site join")
    if not made_there and (added := sorted(own & found.keys())):
        raise _changed(kit / added[0], "was added")
    for path in [kit, *(kit / folder for folder in _SIGNED_FOLDERS), *(kit / relative for relative in found)]:
        mode = path.stat().st_mode
        if path.suffix in _PRIVATE_SUFFIXES and mode & 0o077:
            raise ProvisioningError(f"{path}: readable by other users → chmod 600 {path.name}")
        if mode & 0o022:
            raise ProvisioningError(f"{path}: writable by other users → chmod go-w {path.name}")
    return made_there


def _load_signed_manifest(kit: Path) -> dict[str, Any]:
    """Read the manifest and check its signature against the kit's root certificate."""
    startup = kit / "startup"
    try:
        manifest = (startup / MANIFEST_FILE).read_bytes()
        signature = (startup / MANIFEST_SIGNATURE_FILE).read_bytes()
        key = x509.load_pem_x509_certificate((startup / "rootCA.pem").read_bytes()).public_key()
    except OSError as error:
        raise ProvisioningError(f"{error.filename}: {error.strerror} → this is not a complete startup kit") from None
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise ProvisioningError(f"{startup / 'rootCA.pem'}: not a certificate → restore the kit") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ProvisioningError(f"{startup / 'rootCA.pem'}: not an RSA certificate → restore the kit")
    try:
        verify_with(key, signature, manifest)
    except InvalidSignature:
        raise ProvisioningError(f"{startup / MANIFEST_FILE}: signature does not verify → restore the kit") from None
    content: dict[str, Any] = json.loads(manifest)
    return content
