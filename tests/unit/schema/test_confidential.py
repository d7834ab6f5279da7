"""The section `confidential_computing`: what it takes, and the one line that says what is wrong with it."""

from typing import Any

import pytest

from almoner.errors import DocumentError
from almoner.schema.confidential import ConfidentialComputing
from almoner.schema.consortium import Consortium
from almoner.schema.documents import parse_document

CONSORTIUM = """
schema_version: 1
name: two
server: {host: localhost, org: centre}
sites: [north, south]
users: [{name: lead@north.example, org: north, role: lead}]
roles: {}
studies: {s: {sites: all, admins: [lead@north.example]}}
"""
SNP = "{kind: snp, snpguest_binary: /opt/bin/snpguest, amd_certs_dir: /opt/certs, cpu_model: milan}"
GPU = "{kind: gpu, verifier_url: https://nras.attestation.nvidia.com/v4/attest/gpu}"


def parse(section: str) -> ConfidentialComputing | None:
    return parse_document(
        f"{CONSORTIUM}confidential_computing: {section}\n", Consortium, "c.yaml"
    ).confidential_computing


def test_a_consortium_needs_no_such_section() -> None:
    assert parse_document(CONSORTIUM, Consortium, "c.yaml").confidential_computing is None


def test_real_authorisers_are_taken_with_their_settings() -> None:
    found = parse(f"{{authorizers: [{SNP}, {GPU}], require: {{sites: [snp, gpu], server: [snp]}}}}")
    assert found is not None
    assert found.require.sites == ("snp", "gpu")
    assert found.require.server == ("snp",)


@pytest.mark.parametrize(
    ("section", "finding"),
    [
        ("{authorizers: [], require: {}}", "authorizers"),
        ("{authorizers: [{kind: sgx}], require: {sites: [sgx]}}", "kind"),
        ("{authorizers: [{kind: mock}]}", "require"),
        ("{authorizers: [{kind: mock}], require: {}}", "mock is an authorizer that require asks nobody for"),
        ("{authorizers: [{kind: mock}], require: {sites: [snp]}}", "require.sites asks for snp"),
        ("{authorizers: [{kind: mock}, {kind: mock}], require: {sites: [mock]}}", "occurs twice"),
        ("{authorizers: [{kind: mock}], require: {server: [mock, mock]}}", "require.server names a kind twice"),
        ("{authorizers: [{kind: mock, token: x}], require: {sites: [mock]}}", "token"),
        (
            f"{{authorizers: [{SNP.replace('/opt/bin/snpguest', 'snpguest')}], require: {{sites: [snp]}}}}",
            "snpguest_bin",
        ),
        (f"{{authorizers: [{SNP.replace('/opt/certs', '/opt/../etc')}], require: {{sites: [snp]}}}}", "amd_certs_dir"),
        (f"{{authorizers: [{SNP.replace('/opt/certs', '/opt/{$HOME}')}], require: {{sites: [snp]}}}}", "c.yaml"),
        (f"{{authorizers: [{GPU.replace('https', 'http')}], require: {{sites: [gpu]}}}}", "verifier_url"),
    ],
)
def test_what_is_wrong_is_named(section: str, finding: str) -> None:
    with pytest.raises(DocumentError, match=r"c\.yaml") as raised:
        parse(section)
    assert finding in str(raised.value)


def test_the_section_is_part_of_the_schema_that_users_read() -> None:
    schema: dict[str, Any] = Consortium.model_json_schema()
    assert "confidential_computing" in schema["properties"]
    assert "confidential_computing" not in schema["required"]
