"""Which attestation a consortium asks for, read out of the server's kit as the root signed it.

The tokens themselves are not in a pack: FLARE's authorisers check them at log-in and before jobs, and keep none.
"""

from typing import Any

from almoner.audit import authority
from almoner.audit import parts as names
from almoner.audit.authority import KitManifest
from almoner.audit.strict_json import parse_json
from almoner.errors import EvidenceError

_ASKER = "attestation"


def require_attestation(file: bytes | None, manifest: KitManifest) -> None:
    """Check that the part is the file that the root signed for the server's kit, or absent like it.

    Raises:
        EvidenceError: it is not.
    """
    if file is not None:
        manifest.require(authority.ATTESTATION, file, names.ATTESTATION)
    elif authority.ATTESTATION in manifest.files:
        raise EvidenceError(f"{names.ATTESTATION}: missing; the root signed one for kit {manifest.kit}")


def attestation_claim(file: bytes | None) -> dict[str, Any]:
    """Return who asks whom for what: FLARE's authorisers with their settings, and the ids that each side must show.

    Raises:
        EvidenceError: the file is not as provisioning writes it.
    """
    if file is None:
        return {"authorizers": [], "server_shows": [], "sites_show": []}
    try:
        components = {str(one["id"]): one for one in parse_json(file, names.ATTESTATION)["components"]}
        asker = components.pop(_ASKER)["args"]
        authorizers = [{"kind": kind, "class": one["path"], "args": one["args"]} for kind, one in components.items()]
        return {"authorizers": authorizers, "server_shows": asker["shown"], "sites_show": asker["asked"]}
    except (KeyError, TypeError):
        raise EvidenceError(f"{names.ATTESTATION}: not as provisioning writes it") from None


def attestation_gap(file: bytes | None) -> str:
    """Return what a pack does not show about the machines."""
    kinds = {one["kind"] for one in attestation_claim(file)["authorizers"]}
    if not kinds:
        return "no attestation was asked for: that machines ran this code is the word of those who run them"
    if kinds == {"mock"}:
        return "the only attestation asked for is FLARE's mock, which proves nothing about the machines"
    return f"attestation ({', '.join(sorted(kinds))}) was asked for; its tokens are checked at run time and not kept"
