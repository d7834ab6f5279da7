"""Renders who shows which attestation, and who asks for which: FLARE's authorisers and the component that asks them."""

from typing import Any, Literal

from almoner.provision import names
from almoner.schema.confidential import AuthorizerKind, ConfidentialComputing

_FLARE = "nvflare.app_opt.confidential_computing"
AUTHORIZERS: dict[AuthorizerKind, str] = {
    "mock": f"{_FLARE}.mock_authorizer.MockAuthorizer",
    "snp": f"{_FLARE}.snp_authorizer.SNPAuthorizer",
    "tdx": f"{_FLARE}.tdx_authorizer.TDXAuthorizer",
    "gpu": f"{_FLARE}.gpu_authorizer.GPUAuthorizer",
    "azure_vm": f"{_FLARE}.az_cvm_authorizer.AZCVMAuthorizer",
    "azure_container": f"{_FLARE}.aci_authorizer.ACIAuthorizer",
}
"""FLARE's class of each kind; the fields of the schema are its constructor's arguments."""


def render_attestation(section: ConfidentialComputing, role: Literal["server", "client"]) -> dict[str, Any]:
    """Return a kit's `ATTESTATION_FILE`: an authoriser of each kind, and the component that shows and asks."""
    server, sites = list(section.require.server), list(section.require.sites)
    shown, asked = (server, sites) if role == "server" else (sites, server)
    components = [
        {
            "id": authorizer.kind,
            "path": AUTHORIZERS[authorizer.kind],
            "args": authorizer.model_dump(mode="json", exclude={"kind"}, exclude_none=True),
        }
        for authorizer in section.authorizers
    ]
    asker = {"id": names.ATTESTATION_ID, "path": names.ATTESTATION, "args": {"shown": shown, "asked": asked}}
    return {"format_version": 2, "components": [*components, asker]}
