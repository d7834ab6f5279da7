"""Which of FLARE's confidential-computing authorisers a consortium uses, and who must show a token of which.

A token is what an authoriser makes of a processor's attestation report. The kinds are those of FLARE 2.9; `mock` is
FLARE's own for tests: it has one constant token, accepts every token, and proves nothing about hardware.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from almoner.schema.base import HostName, Model

AbsolutePath = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$", max_length=200)]
"""A path on the participants' machines; no `..`, no blanks, nothing that FLARE or a shell expands."""

AuthorizerKind = Literal["mock", "snp", "tdx", "gpu", "azure_vm", "azure_container"]


class MockAuthorizer(Model):
    """FLARE's mock: for tests."""

    kind: Literal["mock"]


class SnpAuthorizer(Model):
    """AMD SEV-SNP, by the tool `snpguest`."""

    kind: Literal["snp"]
    snpguest_binary: AbsolutePath
    amd_certs_dir: AbsolutePath
    cpu_model: Literal["milan", "genoa", "bergamo", "siena", "turin"]


class TdxAuthorizer(Model):
    """Intel TDX, by the Trust Authority's command line."""

    kind: Literal["tdx"]
    tdx_cli_command: AbsolutePath
    config_dir: AbsolutePath


class GpuAuthorizer(Model):
    """NVIDIA GPUs, by the attestation SDK, which must be installed, and a service such as NVIDIA's."""

    kind: Literal["gpu"]
    verifier_url: Annotated[str, StringConstraints(pattern=r"^https://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._-]+)*/?$")]
    policy_file: AbsolutePath | None = None


class AzureVmAuthorizer(Model):
    """Azure's confidential machines, by Microsoft's attestation client and service."""

    kind: Literal["azure_vm"]
    attester_binary: AbsolutePath
    maa_endpoint: HostName


class AzureContainerAuthorizer(Model):
    """Azure's confidential containers, by the sidecar on port 8284 and Microsoft's attestation service."""

    kind: Literal["azure_container"]
    maa_endpoint: HostName


Authorizer = Annotated[
    MockAuthorizer | SnpAuthorizer | TdxAuthorizer | GpuAuthorizer | AzureVmAuthorizer | AzureContainerAuthorizer,
    Field(discriminator="kind"),
]


class Requirements(Model):
    """Kinds of which a participant must show a valid token, every one of them.

    Args:
        server: what each site asks of the server, at its log-in and before each job.
        sites: what the server asks of each site, at its log-in and before each of its jobs.
    """

    server: tuple[AuthorizerKind, ...] = ()
    sites: tuple[AuthorizerKind, ...] = ()


class ConfidentialComputing(Model):
    """The section `confidential_computing` of a consortium's declaration."""

    authorizers: Annotated[tuple[Authorizer, ...], Field(min_length=1)]
    require: Requirements

    @model_validator(mode="after")
    def _kinds_agree(self) -> "ConfidentialComputing":
        kinds = [authorizer.kind for authorizer in self.authorizers]
        if len(set(kinds)) != len(kinds):
            raise ValueError("confidential_computing: a kind of authorizer occurs twice")
        for who, asked in (("server", self.require.server), ("sites", self.require.sites)):
            if len(set(asked)) != len(asked):
                raise ValueError(f"confidential_computing: require.{who} names a kind twice")
            if unknown := sorted(set(asked) - set(kinds)):
                raise ValueError(f"confidential_computing: require.{who} asks for {unknown[0]}, which is no authorizer")
        if idle := sorted(set(kinds) - {*self.require.server, *self.require.sites}):
            raise ValueError(f"confidential_computing: {idle[0]} is an authorizer that require asks nobody for")
        return self
