"""What a kit says about attestation: FLARE's classes with arguments that they take, and who asks whom for what."""

import ast
import json
from pathlib import Path
from typing import Any, get_args

import nvflare
import pytest
from pydantic import TypeAdapter

from almoner.provision import names
from almoner.provision.attestation import AUTHORIZERS, render_attestation
from almoner.schema.confidential import Authorizer, AuthorizerKind, ConfidentialComputing

SETTINGS: dict[str, dict[str, Any]] = {
    "mock": {},
    "snp": {"snpguest_binary": "/opt/bin/snpguest", "amd_certs_dir": "/opt/certs", "cpu_model": "milan"},
    "tdx": {"tdx_cli_command": "/usr/bin/trustauthority-cli", "config_dir": "/opt/tdx"},
    "gpu": {"verifier_url": "https://nras.attestation.nvidia.com/v4/attest/gpu", "policy_file": "/opt/policy.json"},
    "azure_vm": {"attester_binary": "/opt/AttestationClient", "maa_endpoint": "sharedeus2.eus2.attest.azure.net"},
    "azure_container": {"maa_endpoint": "sharedeus2.eus2.attest.azure.net"},
}
SECTION = ConfidentialComputing.model_validate_json(
    json.dumps(
        {
            "authorizers": [{"kind": kind, **SETTINGS[kind]} for kind in ("snp", "gpu")],
            "require": {"server": ["snp"], "sites": ["snp", "gpu"]},
        }
    )
)


def constructor_of(path: str) -> set[str]:
    """Return the constructor's arguments, out of FLARE's source: some authorisers need packages that are not here."""
    module, _, name = path.rpartition(".")
    source = Path(nvflare.__file__).parent.parent / (module.replace(".", "/") + ".py")
    [found] = [
        node for node in ast.parse(source.read_text()).body if isinstance(node, ast.ClassDef) and node.name == name
    ]
    makers = [node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    return {argument.arg for maker in makers for argument in maker.args.args} - {"self"}


@pytest.mark.parametrize("kind", get_args(AuthorizerKind))
def test_flare_has_the_authoriser_and_it_takes_the_settings(kind: AuthorizerKind) -> None:
    authorizer = TypeAdapter[Any](Authorizer).validate_python({"kind": kind, **SETTINGS[kind]})
    assert set(authorizer.model_dump(exclude={"kind"})) == set(SETTINGS[kind])
    assert set(SETTINGS[kind]) <= constructor_of(AUTHORIZERS[kind])


def test_each_asks_the_other_for_what_the_other_shows() -> None:
    asker = {}
    for role in ("server", "client"):
        rendered = render_attestation(SECTION, role)  # type: ignore[arg-type]
        assert json.loads(json.dumps(rendered)) == rendered
        *authorizers, last = rendered["components"]
        assert {one["id"]: one["path"] for one in authorizers} == {kind: AUTHORIZERS[kind] for kind in ("snp", "gpu")}
        assert (last["id"], last["path"]) == (names.ATTESTATION_ID, names.ATTESTATION)
        asker[role] = last["args"]
    assert asker["server"] == {"shown": ["snp"], "asked": ["snp", "gpu"]}
    assert asker["client"] == {"shown": ["snp", "gpu"], "asked": ["snp"]}


def test_flare_loads_the_file_in_parent_processes_alone() -> None:
    assert names.ATTESTATION_FILE.endswith("__p_resources.json")
