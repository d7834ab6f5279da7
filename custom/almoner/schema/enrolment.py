"""The three papers of keys made at the site: the form to fill, the package that comes back, the approved roster."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from almoner.schema.base import Digest, Document, Name, UserName
from almoner.schema.consortium import Consortium, Roster
from almoner.schema.policy import ConsortiumPolicy, SitePolicy
from almoner.schema.site import SiteConfig

CertificateRole = Literal["client", "org_admin", "lead", "member"]
"""The roles that FLARE's `cert request` knows; a site's certificate has the role `client`."""

Pem = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e\n]{1,8000}$")]


class RequestForm(Document):
    """Who is to make a key and ask for a certificate; the operator hands it out.

    Args:
        name: the site, or the user.
        org: a site's organisation has the site's name.
    """

    consortium: Name
    name: UserName | Name
    org: Name
    role: CertificateRole


class SiteDocuments(Document):
    """What a site's kit is rendered from, beyond what every kit has."""

    roster: Roster
    floor: ConsortiumPolicy
    policy: SitePolicy
    config: SiteConfig


class KitPackage(Document):
    """What the operator sends back: documents alone. No key, no code, no configuration of FLARE's.

    The owner renders the kit from it with the software installed there, and compares it with the manifest.

    Args:
        almoner_version: what rendered the kit that the manifest lists.
        site: None for a user.
        manifest: the kit's files and their digests, as the root key signed them.
        manifest_signature: in hexadecimal.
    """

    almoner_version: str
    form: RequestForm
    consortium: Consortium
    port: Annotated[int, Field(ge=1024, le=65535)]
    certificate_pem: Pem
    root_pem: Pem
    site: SiteDocuments | None
    manifest: str
    manifest_signature: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{512,1024}$")]


class RosterApproval(Document):
    """A site's word, signed with its own key: these are the sites that it takes part with, and this is its kit."""

    consortium: Name
    site: Name
    roster_sha256: Digest
    manifest_sha256: Digest
    signature: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{512,1024}$")]
