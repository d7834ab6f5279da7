"""Renders kits from certificates that were issued before: FLARE's builders as for central provisioning, without keys.

Operator and site call the same function. The operator signs the list of files that it gave; the site checks that its
own software gives the same files. So no configuration and no script of the operator's reaches a site.
"""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from nvflare.lighter.constants import CtxKey, ParticipantType
from nvflare.lighter.entity import Project
from nvflare.lighter.impl.static_file import StaticFileBuilder
from nvflare.lighter.impl.workspace import WorkspaceBuilder
from nvflare.lighter.spec import Builder, ProvisionContext

from almoner.flare.kits.builders import HardenedKitBuilder, KitSignatureBuilder
from almoner.flare.kits.provisioning import run_flare_provisioner
from almoner.provision.project import render_project
from almoner.schema.consortium import Consortium, Roster
from almoner.schema.declarations import Declarations


class IssuedCertificateBuilder(Builder):  # type: ignore[misc]
    """Puts issued certificates into the kits; the place of FLARE's CertBuilder, which makes keys.

    Args:
        certificates: PEM by name; participants without one get none.
        server_key: the server's own key, PEM, where its kit is made.
        root_key: what `KitSignatureBuilder` signs with, where kits are signed.
    """

    def __init__(
        self,
        certificates: dict[str, bytes],
        root_pem: bytes,
        server_key: bytes | None = None,
        root_key: rsa.RSAPrivateKey | None = None,
    ) -> None:
        self._certificates, self._root_pem = certificates, root_pem
        self._server_key, self._root_key = server_key, root_key

    def build(self, project: Project, ctx: ProvisionContext) -> None:
        """Write certificate and root into each kit."""
        ctx[CtxKey.ROOT_PRI_KEY] = self._root_key
        for participant in project.get_all_participants():
            folder, is_server = Path(ctx.get_kit_dir(participant)), participant.type == ParticipantType.SERVER
            (folder / "rootCA.pem").write_bytes(self._root_pem)
            if participant.name in self._certificates:
                name = "server.crt" if is_server else "client.crt"
                (folder / name).write_bytes(self._certificates[participant.name])
            if is_server and self._server_key is not None:
                (folder / "server.key").write_bytes(self._server_key)


def render_signed_kits(
    declarations: Declarations, roster: Roster, certificates: IssuedCertificateBuilder, port: int, folder: Path
) -> Path:
    """Render and sign all kits of a consortium, without the keys of sites and users; return where they are."""
    builders = [
        WorkspaceBuilder(),
        KitSignatureBuilder(),
        _static_files(),
        certificates,
        HardenedKitBuilder(declarations, roster),
    ]
    return run_flare_provisioner(render_project(declarations.consortium, port), folder, builders)


def render_own_kit(
    consortium: Consortium,
    site: tuple[Declarations, Roster] | None,
    certificates: IssuedCertificateBuilder,
    name: str,
    port: int,
    folder: Path,
) -> Path:
    """Render the kit of one site or user, unsigned and without its key; return where it is.

    Args:
        site: what a site's kit is rendered from besides; None for a user.
    """
    description = render_project(consortium, port)
    kept = {name, consortium.server.host}
    description["participants"] = [entry for entry in description["participants"] if entry["name"] in kept]
    description["studies"] = {}
    hardened = [] if site is None else [HardenedKitBuilder(*site)]
    builders = [WorkspaceBuilder(), _static_files(), certificates, *hardened]
    return run_flare_provisioner(description, folder, builders) / name


def _static_files() -> StaticFileBuilder:
    """Return the builder of FLARE's own configuration, as for central provisioning."""
    return StaticFileBuilder(config_folder="config", scheme="grpc", require_signed_jobs=True)
