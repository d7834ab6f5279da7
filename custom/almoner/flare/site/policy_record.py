"""Records in a site's ledger which policy it decides by, whenever that changes."""

import hashlib

from cryptography import x509

from almoner.admission.history import History
from almoner.flare.site.site_files import SiteFiles
from almoner.privacy.ledger import Ledger
from almoner.provision import names
from almoner.provision.roster import fingerprint
from almoner.schema.base import digest


def record_policy(site: SiteFiles, ledger: Ledger, history: History) -> None:
    """Write an entry if the site's policy is not the one that the ledger recorded last.

    The policy lies in the kit, whose manifest is signed with the consortium's root key, so `signed_by` is the
    fingerprint of the root certificate; the entry's time says when the site first decided by the new policy.
    """
    new = digest(site.policy)
    if new == history.policy_digest:
        return
    manifest = site.kit / "startup" / names.MANIFEST_FILE
    signed_by = fingerprint(x509.load_pem_x509_certificate(site.root_ca.read_bytes()))
    ledger.record(
        "policy",
        {
            "old": history.policy_digest,
            "new": new,
            "signed_by": signed_by,
            "manifest": hashlib.sha256(manifest.read_bytes()).hexdigest(),
        },
    )
