"""A data officer's signed word on one job: approved or denied, once, until a time."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from almoner.schema.base import Digest, Document, Model, Name, digest
from almoner.schema.envelope import AnyJobSpec, JobEnvelope

CommonName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""Of a certificate, which has room for 64 characters."""

UnixSeconds = Annotated[int, Field(gt=0, lt=2**53)]


def spec_digest(spec: AnyJobSpec, sites: tuple[str, ...]) -> str:
    """Return the digest that a data officer signs: of a spec and its sites, the same at every submission.

    The envelope's nonce and expiry are left out, so that a job can be submitted again after its approval.
    """
    return digest({"spec": spec.model_dump(mode="json"), "sites": list(sites)})


def job_digest(envelope: JobEnvelope) -> str:
    """Return the digest that a data officer signs for a submitted envelope."""
    return spec_digest(envelope.spec, envelope.sites)


class Approval(Model):
    """What is signed.

    Args:
        job_digest: see `spec_digest`.
        submitter: whose job it is; an approval is good for nobody else's.
        workload_digest: of the workload's code as it is installed at the site; "" if it is not installed.
        officer: the common name of the certificate that signs.
    """

    statement: Literal["almoner-approval-2"]
    site: Name
    job_digest: Digest
    submitter: CommonName
    workload_digest: Digest | Literal[""]
    verdict: Literal["approved", "denied"]
    officer: CommonName
    signed_unix_seconds: UnixSeconds
    expires_unix_seconds: UnixSeconds


class SignedApproval(Document):
    """An approval with its signature and the certificate of who signed; a file in the site's `approvals/`."""

    approval: Approval
    certificate_pem: Annotated[str, StringConstraints(max_length=20_000)]
    signature: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}){1,1024}$")]
