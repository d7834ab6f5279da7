"""FLARE builders that turn stock startup kits into hardened, signed ones."""

import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from nvflare.lighter.constants import CtxKey, ParticipantType
from nvflare.lighter.entity import Participant, Project
from nvflare.lighter.spec import Builder, ProvisionContext

from almoner.errors import ProvisioningError
from almoner.provision import kit_files, names
from almoner.provision.attestation import render_attestation
from almoner.provision.manifest import sign_kit
from almoner.provision.roster import render_roster
from almoner.schema.base import Model
from almoner.schema.consortium import Roster
from almoner.schema.declarations import Declarations

_STOCK_LOCAL = ("resources.json.default", "privacy.json.sample", "authorization.json.default")
_STOCK_STARTERS = ("sub_start.sh", "stop_fl.sh")
"""FLARE's own starters: they would run a site without verifying its kit."""

_START_SH = """#!/usr/bin/env bash
# Verifies this kit and runs it in the foreground. Needs the almoner environment's python3 first in PATH.
DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null 2>&1 && pwd)"
exec python3 -P -m almoner.flare.start "$(dirname "$DIR")"
"""


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def _write_yaml(path: Path, document: Model) -> None:
    path.write_text(document.model_dump_json(indent=2) + "\n")  # JSON is YAML, with every name quoted


class HardenedKitBuilder(Builder):  # type: ignore[misc]
    """Replaces FLARE's `local/` defaults by ours, and adds policy, site config and roster."""

    def __init__(self, declarations: Declarations, roster: Roster | None = None) -> None:
        """Take the roster of sites that made their keys themselves; without one it is made of the kits' certificates.

        Kits of sites that `declarations` has no policy of are left alone.
        """
        self._declarations = declarations
        self._roster = roster

    def build(self, project: Project, ctx: ProvisionContext) -> None:
        """Write the files of every kit; runs after FLARE's certificates are there."""
        authorization = kit_files.render_authorization(self._declarations.consortium)
        roster = self._roster or self._central_roster(project, ctx)
        for participant in project.get_all_participants():
            known = participant.type == ParticipantType.SERVER or participant.name in self._declarations.policies
            if participant.type == ParticipantType.ADMIN or not known:
                continue
            startup, local = Path(ctx.get_kit_dir(participant)), Path(ctx.get_local_dir(participant))
            for stock in _STOCK_LOCAL:
                (local / stock).unlink(missing_ok=True)
            for stock in _STOCK_STARTERS:
                (startup / stock).unlink(missing_ok=True)
            (local / "log_config.json.default").rename(local / "log_config.json")
            (startup / "start.sh").write_text(_START_SH)
            _write_json(local / "authorization.json", authorization)
            _write_json(
                local / names.KIT_FILE,
                {"kind": participant.type, "name": participant.name, "org": participant.org},
            )
            _write_json(local / names.ROSTER_FILE, roster.model_dump(mode="json"))
            if (section := self._declarations.consortium.confidential_computing) is not None:
                _write_json(local / names.ATTESTATION_FILE, render_attestation(section, participant.type))
            if participant.type == ParticipantType.SERVER:
                _write_json(local / "resources.json", kit_files.render_server_resources())
            else:
                self._build_site(participant, startup, local)

    def _central_roster(self, project: Project, ctx: ProvisionContext) -> Roster:
        """Return the roster of the certificates that FLARE's provisioner made."""
        certificates = {
            site.name: (Path(ctx.get_kit_dir(site)) / "client.crt").read_text() for site in project.get_clients()
        }
        return render_roster(self._declarations, certificates)

    def _build_site(self, participant: Participant, startup: Path, local: Path) -> None:
        """Write what only a site's kit has."""
        _write_json(local / "resources.json", kit_files.render_site_resources())
        _write_json(local / "privacy.json", kit_files.render_privacy())
        _write_yaml(local / names.POLICY_FILE, self._declarations.policies[participant.name])
        _write_yaml(local / names.FLOOR_FILE, self._declarations.floor)
        _write_yaml(local / names.SITE_FILE, self._declarations.sites[participant.name])


def close_permissions(kit: Path) -> None:
    """Let nobody but its owner read a kit."""
    for path in [kit, *kit.rglob("*")]:
        executable = path.is_dir() or path.suffix == ".sh"
        path.chmod(0o700 if executable else 0o600)


class KitSignatureBuilder(Builder):  # type: ignore[misc]
    """Closes every kit: permissions first, then the signed manifest. Finalised after all other builders."""

    def finalize(self, project: Project, ctx: ProvisionContext) -> None:
        """Sign all kits with the root key."""
        root_key = ctx.get(CtxKey.ROOT_PRI_KEY)
        if not isinstance(root_key, rsa.RSAPrivateKey):
            raise ProvisioningError("the provisioner made no RSA root key → this release signs kits with RSA only")
        for participant in project.get_all_participants():
            kit = Path(ctx.get_ws_dir(participant))
            close_permissions(kit)
            sign_kit(kit, participant.name, root_key)
