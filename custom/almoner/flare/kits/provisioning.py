"""Provisions a consortium: FLARE's own provisioner, our builders, kits delivered into one folder each."""

import contextlib
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from nvflare.lighter.constants import CtxKey
from nvflare.lighter.impl.cert import CertBuilder
from nvflare.lighter.impl.static_file import StaticFileBuilder
from nvflare.lighter.impl.workspace import WorkspaceBuilder
from nvflare.lighter.provision import prepare_project
from nvflare.lighter.provisioner import Provisioner
from nvflare.lighter.spec import Builder

from almoner.admission.lattice import verify_policies
from almoner.errors import ProvisioningError
from almoner.flare.kits.builders import HardenedKitBuilder, KitSignatureBuilder
from almoner.flare.site.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.provision.project import render_project
from almoner.provision.roster import fingerprint
from almoner.schema.declarations import Declarations, load_declarations
from almoner.schema.documents import read_text
from almoner.schema.policy import SitePolicy

_DECLARED_FILE = "declared"
"""Holds the declared name of the consortium in a provisioned folder; folders without it are of the default one."""


@dataclass(frozen=True)
class ProvisionedConsortium:
    """Where the parts of a provisioned consortium lie.

    Args:
        root: the folder; `server/kit`, `sites/<site>/kit` and `users/<user>` are below it, and `authority`,
            which holds every private key and belongs to the operator alone.
        port: the server's TCP port.
        root_fingerprint: SHA-256 of the root certificate, to be compared by hand once.
    """

    root: Path
    port: int
    root_fingerprint: str
    declarations: Declarations

    @property
    def server_kit(self) -> Path:
        """The server's startup kit."""
        return self.root / "server" / "kit"

    def site_folder(self, site: str) -> Path:
        """The folder of a site: its kit, its data, its ledger."""
        return self.root / "sites" / site

    def user_kit(self, user: str) -> Path:
        """The admin startup kit of a user."""
        return self.root / "users" / user


def provision(declarations_root: Path, out: Path, port: int, declared: str | None = None) -> ProvisionedConsortium:
    """Make a new consortium with new keys, new kits and new, empty ledgers.

    Args:
        declarations_root: the folder with `provisioning/`, `policies/` and `site_configs/`.
        out: a folder that does not exist yet; accounts are for life, so none is ever made anew.
        declared: which of the declared consortia; see `load_declarations`.

    Raises:
        ProvisioningError: the folder exists, or FLARE's provisioner failed.
        DocumentError, PolicyViolation: a declaration is wrong.
    """
    declarations = load_declarations(declarations_root, declared)
    verify_policies(declarations_root, declarations)
    if out.exists():
        raise ProvisioningError(f"{out}: exists already → give a new folder; accounts and keys are never made anew")
    try:
        out.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise ProvisioningError(f"{out}: cannot be made: {error.strerror} → give another folder") from None
    try:
        write_declared(out, declarations)
        kits = _make_central_kits(declarations, out / "authority", port)
        _deliver(kits, declarations, out)
        _open_ledgers(declarations, out)
    except BaseException:
        shutil.rmtree(out)
        raise
    return load_consortium(out, declarations, port)


def load_consortium(out: Path, declarations: Declarations, port: int) -> ProvisionedConsortium:
    """Describe a consortium that `provision` made."""
    root_pem = (out / "server" / "kit" / "startup" / "rootCA.pem").read_bytes()
    return ProvisionedConsortium(
        root=out,
        port=port,
        root_fingerprint=fingerprint(x509.load_pem_x509_certificate(root_pem)),
        declarations=declarations,
    )


def _make_central_kits(declarations: Declarations, authority: Path, port: int) -> Path:
    """Make all keys and kits; return the folder with one kit a participant."""
    authority.mkdir(mode=0o700)
    builders = [
        WorkspaceBuilder(),
        KitSignatureBuilder(),
        StaticFileBuilder(config_folder="config", scheme="grpc", require_signed_jobs=True),
        CertBuilder(),
        HardenedKitBuilder(declarations),
    ]
    kits = run_flare_provisioner(render_project(declarations.consortium, port), authority, builders)
    for path in authority.glob("*/state/*"):
        path.chmod(0o600)
    return kits


def run_flare_provisioner(description: dict[str, Any], folder: Path, builders: list[Builder]) -> Path:
    """Run FLARE's provisioner; return the folder with one kit a participant.

    Args:
        description: FLARE's project.
        folder: its working folder.

    Raises:
        ProvisioningError: it failed; with the last line that it printed.
    """
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        project = prepare_project(description)
        ctx = Provisioner(str(folder), builders).provision(project)
    if ctx.get(CtxKey.BUILD_ERROR):
        reason = output.getvalue().strip().splitlines()
        raise ProvisioningError(f"FLARE's provisioner failed: {reason[-1] if reason else 'no message'}")
    return Path(ctx[CtxKey.CURRENT_PROD_DIR])


def _deliver(kits: Path, declarations: Declarations, out: Path) -> None:
    """Move each kit to the folder of its owner."""
    targets = {declarations.consortium.server.host: out / "server" / "kit"}
    targets |= {site: out / "sites" / site / "kit" for site in declarations.consortium.sites}
    targets |= {user.name: out / "users" / user.name for user in declarations.consortium.users}
    for name, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.move(kits / name, target)


def _open_ledgers(declarations: Declarations, out: Path) -> None:
    """Create each site's ledger and open its accounts."""
    for site, policy in declarations.policies.items():
        open_ledger(policy, out / "sites" / site)


def open_ledger(policy: SitePolicy, folder: Path) -> None:
    """Create a site's ledger in its folder, and open the policy's accounts."""
    path = folder / LEDGER
    path.parent.mkdir(mode=0o700)
    with Ledger.create(path, policy.site) as ledger:
        for account in policy.accounts:
            ledger.open_account(account)


def write_declared(out: Path, declarations: Declarations) -> None:
    """Record in a new folder which declared consortium it is of."""
    (out / _DECLARED_FILE).write_text(declarations.declared + "\n")


def declarations_of_folder(declarations_root: Path, out: Path) -> Declarations:
    """Read the declarations that a provisioned folder was made from, as they are now.

    Raises:
        DocumentError: a declaration is wrong, or they have no such consortium any more.
    """
    path = out / _DECLARED_FILE
    return load_declarations(declarations_root, read_text(path).strip() if path.exists() else None)


def read_port(out: Path) -> int:
    """Return the server's port of a consortium that `provision` made.

    Raises:
        ProvisioningError: the folder holds no such consortium.
    """
    path = out / "server" / "kit" / "startup" / "fed_server.json"
    try:
        target: str = json.loads(path.read_bytes())["servers"][0]["service"]["target"]
        return int(target.rpartition(":")[2])
    except (OSError, ValueError, LookupError):
        raise ProvisioningError(f"{path}: not a server's kit → almoner provision --out {out}") from None
