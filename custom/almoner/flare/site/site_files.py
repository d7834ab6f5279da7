"""Reads what a running site stands on: kit, policy, site config, roster, ledger."""

from dataclasses import dataclass
from pathlib import Path

from nvflare.apis.workspace import Workspace

from almoner.admission.user_certificates import Trust
from almoner.errors import DocumentError
from almoner.privacy.ledger import Ledger
from almoner.provision import names
from almoner.schema.consortium import Roster
from almoner.schema.documents import load_document
from almoner.schema.policy import ConsortiumPolicy, SitePolicy
from almoner.schema.site import SiteConfig

LEDGER = Path("ledger") / "ledger.sqlite"
"""A site's ledger, relative to the site's folder: beside the kit, outside FLARE's workspace."""


ROOT_CA = Path("startup") / "rootCA.pem"
"""The consortium's root certificate, relative to a kit."""


@dataclass(frozen=True)
class SiteFiles:
    """The declarations of one running site, and where its ledger is.

    Args:
        policy: the site's, with what the consortium revokes besides; its digest is what the ledger records.
        kit: the startup kit, which is FLARE's workspace.
        folder: the site's own folder, which holds kit, data and ledger.
    """

    kit: Path
    folder: Path
    policy: SitePolicy
    config: SiteConfig
    roster: Roster

    @property
    def root_ca(self) -> Path:
        """The consortium's root certificate."""
        return self.kit / ROOT_CA

    @property
    def trust(self) -> Trust:
        """By what users' certificates are judged here."""
        return Trust(self.root_ca.read_bytes(), self.policy.revoked)

    @property
    def ledger_folder(self) -> Path:
        """Where the ledger lies, and beside it the commitments to data sets."""
        return (self.folder / LEDGER).parent

    def private_key(self) -> bytes:
        """Read the site's key, PEM."""
        return (self.kit / "startup" / "client.key").read_bytes()

    def ledger(self) -> Ledger:
        """Open the site's ledger; a missing one is an error."""
        return Ledger.open(self.folder / LEDGER)


def load_site_files(workspace: Workspace) -> SiteFiles:
    """Read a running site's declarations; see `load_kit`."""
    return load_kit(Path(workspace.get_root_dir()))


def load_kit(kit: Path) -> SiteFiles:
    """Read a site's declarations out of its kit.

    Raises:
        DocumentError: it is no kit of a site, or a file is missing or malformed.
    """
    kit = kit.resolve()
    local = kit / "local"
    if not (local / names.POLICY_FILE).is_file():
        raise DocumentError(f"{kit}: not a site's kit → give the folder that holds kit/, data/ and ledger/")
    floor = load_document(local / names.FLOOR_FILE, ConsortiumPolicy)
    return SiteFiles(
        kit=kit,
        folder=kit.parent,
        policy=load_document(local / names.POLICY_FILE, SitePolicy).under(floor),
        config=load_document(local / names.SITE_FILE, SiteConfig),
        roster=load_document(local / names.ROSTER_FILE, Roster),
    )
