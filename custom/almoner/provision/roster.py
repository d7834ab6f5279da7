"""The public roster that every kit carries: certificates and declared sizes of the sites."""

from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from almoner.schema.consortium import Roster, RosterEntry
from almoner.schema.declarations import Declarations


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 fingerprint of a certificate in hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def render_roster(
    declarations: Declarations, certificates_pem: dict[str, str], keys: Literal["central", "site"] = "central"
) -> Roster:
    """Return the roster in consortium order.

    Args:
        certificates_pem: each site's certificate, PEM, by site name.
        keys: who made the sites' keys; see `Roster`.
    """
    entries = []
    for site in declarations.consortium.sites:
        pem = certificates_pem[site]
        sizes = {name: data.nominal_records for name, data in declarations.sites[site].datasets.items()}
        entries.append(
            RosterEntry(
                site=site,
                certificate_sha256=fingerprint(x509.load_pem_x509_certificate(pem.encode())),
                certificate_pem=pem,
                nominal_records=sizes,
            )
        )
    consortium = declarations.consortium
    return Roster(
        schema_version=1,
        consortium=consortium.name,
        keys=keys,
        sites=tuple(entries),
        studies={study: consortium.sites_of_study(study) for study in consortium.studies},
    )
