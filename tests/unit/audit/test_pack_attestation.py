"""Which attestation a consortium asks for, in its packs: as the root signed it, whatever the server would say."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.audit.audit_cases import Run, make_kit, make_run, parts_of, sealed

from almoner.audit import parts as names
from almoner.audit.pack_verify import Verdict, verify_pack
from almoner.errors import EvidenceError
from almoner.provision.attestation import render_attestation
from almoner.schema.confidential import ConfidentialComputing

SNP = {"kind": "snp", "snpguest_binary": "/opt/snpguest", "amd_certs_dir": "/opt/certs", "cpu_model": "milan"}

pytestmark = pytest.mark.threat("T-172")


def attestation(*authorizers: dict[str, str]) -> bytes:
    kinds = [one["kind"] for one in authorizers]
    section = {"authorizers": authorizers, "require": {"sites": kinds, "server": kinds[:1]}}
    parsed = ConfidentialComputing.model_validate_json(json.dumps(section))
    return json.dumps(render_attestation(parsed, "server")).encode()


def run_with(file: bytes | None, signed: bytes | None) -> Run:
    """Return a run whose server packs one file, where the root signed for another."""
    run = make_run()
    files = {} if signed is None else {"local/attestation__p_resources.json": signed}
    kit = make_kit("server.example", "startup/server.crt", 1, "server.example", run.server.kit.roster, **files)
    return replace(run, server=replace(run.server, kit=replace(kit, attestation=file)))


def packed(run: Run, folder: Path) -> Verdict:
    return verify_pack(sealed(run, parts_of(run, folder)), run.root_pem)


@pytest.mark.parametrize(
    ("file", "shown", "gap"),
    [
        (None, [], "no attestation was asked for"),
        (attestation({"kind": "mock"}), ["mock"], "FLARE's mock, which proves nothing"),
        (attestation(SNP, {"kind": "mock"}), ["snp", "mock"], "attestation (mock, snp) was asked for; its tokens"),
    ],
)
def test_the_run_manifest_says_what_was_asked_for(
    file: bytes | None, shown: list[str], gap: str, tmp_path: Path
) -> None:
    verdict = packed(run_with(file, file), tmp_path)
    claim = verdict.statements[names.RUN].predicate["recomputed"]["attestation"]
    assert claim["sites_show"] == shown
    assert claim["server_shows"] == shown[:1]
    assert [one["kind"] for one in claim["authorizers"]] == shown
    assert len([found for found in verdict.gaps if gap in found]) == 1


@pytest.mark.parametrize(
    ("file", "signed"),
    [
        (attestation(SNP), attestation({"kind": "mock"})),
        (attestation(SNP), None),
        (None, attestation({"kind": "mock"})),
    ],
    ids=["a better one", "one where there is none", "none where there is one"],
)
def test_the_server_cannot_say_otherwise(file: bytes | None, signed: bytes | None, tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"authority/attestation\.json"):
        packed(run_with(file, signed), tmp_path)
