"""A site's approval of the roster in its kit, signed with the key that it made itself.

The operator signs the kit's manifest, and could sign another roster with certificates of its own. So a kit whose
roster says `keys: site` starts only with this second signature. The data officer gives it after comparing one digest
with the other sites over a channel that the operator does not run: equal digests mean equal certificates, all of them,
and each site checks by itself that its own entry has its own key.

*Guarantee*: after `verify_roster_approval` returns, the certificates of the roster are as `verify_roster` says, the
site's own entry has the key that is in the kit, and the holder of that key signed this roster and this manifest.

It does not protect against an officer who signs without comparing.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from almoner.data.atomic import write_atomically
from almoner.errors import ProvisioningError
from almoner.protection.signing import sign_with, verify_with
from almoner.provision import names
from almoner.provision.issued import load_certificate, verify_roster
from almoner.provision.roster import fingerprint
from almoner.schema.base import canonical_json, digest
from almoner.schema.consortium import Roster
from almoner.schema.documents import load_document
from almoner.schema.enrolment import RosterApproval

_LABEL = "almoner roster approval 1"
KEY_PATH = "startup/client.key"
APPROVAL_PATH = f"startup/{names.APPROVAL_FILE}"
OWN_FILES = frozenset({KEY_PATH, APPROVAL_PATH})
"""What a site adds to its kit; the operator never sees the first, and does not sign either."""


@dataclass(frozen=True)
class PendingRoster:
    """What a data officer is asked to approve; everything that needs no human is checked already.

    Args:
        root_sha256: the fingerprint of the consortium's root certificate.
        roster_sha256: the one digest that all sites compare.
    """

    kit: Path
    site: str
    roster: Roster
    root_sha256: str
    roster_sha256: str
    manifest_sha256: str
    key: rsa.RSAPrivateKey

    def statement(self) -> bytes:
        """Return what is signed."""
        return _statement(self.roster.consortium, self.site, self.roster_sha256, self.manifest_sha256)


def _statement(consortium: str, site: str, roster_sha256: str, manifest_sha256: str) -> bytes:
    """Return the bytes that an approval signs."""
    return canonical_json(
        {
            "statement": _LABEL,
            "consortium": consortium,
            "site": site,
            "roster_sha256": roster_sha256,
            "manifest_sha256": manifest_sha256,
        }
    )


def needs_approval(kit: Path) -> bool:
    """Say whether a kit is a site's, and its roster says that the sites made their keys."""
    identity, roster = kit / "local" / names.KIT_FILE, kit / "local" / names.ROSTER_FILE
    if not (identity.is_file() and roster.is_file()) or json.loads(identity.read_bytes())["kind"] != "client":
        return False
    return load_document(roster, Roster).keys == "site"


def _load_key(path: Path) -> rsa.RSAPrivateKey:
    """Read the site's key."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ProvisioningError(f"{path}: {error.strerror} → almoner site join") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ProvisioningError(f"{path}: not a private key without a passphrase → almoner site join") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ProvisioningError(f"{path}: not an RSA key → almoner site join")
    return key


def load_pending(kit: Path) -> PendingRoster:
    """Check all of a kit's roster that a machine can check.

    Raises:
        ProvisioningError: the roster, or the site's own certificate and key, are not what they must be.
    """
    startup, path = kit / "startup", kit / "local" / names.ROSTER_FILE
    roster = load_document(path, Roster)
    site = json.loads((kit / "local" / names.KIT_FILE).read_bytes())["name"]
    root = load_certificate((startup / "rootCA.pem").read_bytes(), str(startup / "rootCA.pem"))
    verify_roster(roster, root)
    entry = roster.entry(site)
    if entry is None:
        raise ProvisioningError(f"{path}: {site} is not in it → ask the operator for another package")
    own = (startup / "client.crt").read_bytes()
    key = _load_key(kit / KEY_PATH)
    if own != entry.certificate_pem.encode() or key.public_key() != x509.load_pem_x509_certificate(own).public_key():
        raise ProvisioningError(f"{path}: its certificate of {site} is not that of this site's own key → do not start")
    return PendingRoster(
        kit=kit,
        site=site,
        roster=roster,
        root_sha256=fingerprint(root),
        roster_sha256=digest(roster),
        manifest_sha256=digest((startup / names.MANIFEST_FILE).read_bytes()),
        key=key,
    )


def approve(pending: PendingRoster, confirmed: str) -> Path:
    """Sign a roster that was compared; return the approval's file.

    Args:
        confirmed: the digest that the officer compared with the other sites.

    Raises:
        ProvisioningError: the digest is another one.
    """
    if confirmed.strip().lower() != pending.roster_sha256:
        raise ProvisioningError(
            f"{pending.kit}: its roster has the digest {pending.roster_sha256}, not {confirmed.strip()} → if another "
            "site read you that one, somebody gave you different rosters: do not start, and ask the operator"
        )
    signature = sign_with(pending.key, pending.statement())
    approval = RosterApproval(
        schema_version=1,
        consortium=pending.roster.consortium,
        site=pending.site,
        roster_sha256=pending.roster_sha256,
        manifest_sha256=pending.manifest_sha256,
        signature=signature.hex(),
    )
    path = pending.kit / APPROVAL_PATH
    write_atomically(path, canonical_json(approval))
    return path


def verify_roster_approval(kit: Path) -> None:
    """Check that the site approved the roster of its kit.

    Raises:
        ProvisioningError: it did not, or not this roster in this kit.
    """
    pending = load_pending(kit)
    path = kit / APPROVAL_PATH
    remedy = f"compare the fingerprints: almoner site approve-roster {kit.parent}"
    if not path.is_file():
        raise ProvisioningError(f"{kit}: the site's data officer has not approved the roster yet → {remedy}")
    approval = load_document(path, RosterApproval)
    named = _statement(approval.consortium, approval.site, approval.roster_sha256, approval.manifest_sha256)
    try:
        if named != pending.statement():
            raise InvalidSignature
        verify_with(pending.key.public_key(), bytes.fromhex(approval.signature), named)
    except InvalidSignature:
        raise ProvisioningError(f"{path}: is not the site's approval of this roster and kit → {remedy}") from None
