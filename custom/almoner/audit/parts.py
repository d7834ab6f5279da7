"""The names of a pack's parts. Whoever packs writes all of them, and whoever verifies misses each by name.

index.dsse.json          digests of all other parts; signed by the packer
authority/...            roster, server's certificate, which attestation was asked for: as the root signed them
job/...                  the submitted folder, FLARE's record of the job, and what it left (without the model)
log/...                  the head of the transparency log with cosignatures, and the job's entries with proofs
server/*.dsse.json       the server's statements
redteam/redteam.json     results of attacks, if there are any
sites/<site>/...         the site's kit manifest, certificate and policy; its ledger; its statements
"""

from collections.abc import Iterable

from almoner.audit.statements import SUFFIX
from almoner.errors import EvidenceError

INDEX = f"index{SUFFIX}"
SERVER_MANIFEST, SERVER_MANIFEST_SIGNATURE = "authority/manifest.json", "authority/manifest.sig"
SERVER_CERTIFICATE, ROSTER = "authority/server.pem", "authority/roster.json"
ATTESTATION = "authority/attestation.json"
SUBMISSION, META, OUTCOME, HEADS = "job/submission.zip", "job/meta.json", "job/outcome.json", "job/heads.json"
LOG_HEAD, LOG_ENTRIES = "log/head.json", "log/entries.json"
REDTEAM = "redteam/redteam.json"

RUN, CERTIFICATES, SBOM = f"server/run-manifest{SUFFIX}", f"server/certificates{SUFFIX}", f"server/sbom{SUFFIX}"
VULNERABILITIES, THREATS = f"server/vulnerabilities{SUFFIX}", f"server/threat-model{SUFFIX}"
ATTACKS, DPIA = f"server/redteam{SUFFIX}", f"server/dpia-inputs{SUFFIX}"
SERVER_STATEMENTS = (RUN, CERTIFICATES, SBOM, VULNERABILITIES, THREATS, ATTACKS, DPIA)

MANIFEST, MANIFEST_SIGNATURE, CERTIFICATE = "kit-manifest.json", "kit-manifest.sig", "certificate.pem"
SITE_ROSTER, POLICY, FLOOR, LEDGER = "roster.json", "policy.yaml", "floor.yaml", "ledger.jsonl"
SITE_FILES = (MANIFEST, MANIFEST_SIGNATURE, CERTIFICATE, SITE_ROSTER, POLICY, FLOOR, LEDGER)
LEDGER_STATEMENT, DECISIONS = f"ledger{SUFFIX}", f"decisions{SUFFIX}"
RECEIPTS, PRIVACY = f"receipts{SUFFIX}", f"dp-statement{SUFFIX}"
SITE_STATEMENTS = (LEDGER_STATEMENT, DECISIONS, RECEIPTS, PRIVACY)


def of_site(site: str, name: str) -> str:
    """Return the name of a site's part."""
    return f"sites/{site}/{name}"


def require_known(present: Iterable[str], sites: Iterable[str]) -> None:
    """Refuse parts that no step of verifying reads: they would be believed for standing in a verified pack.

    Raises:
        EvidenceError: naming the first.
    """
    known = {INDEX, SERVER_MANIFEST, SERVER_MANIFEST_SIGNATURE, SERVER_CERTIFICATE, ROSTER, ATTESTATION, SUBMISSION}
    known |= {META, OUTCOME, HEADS, LOG_HEAD, LOG_ENTRIES, REDTEAM, *SERVER_STATEMENTS}
    known |= {of_site(site, name) for site in sites for name in (*SITE_FILES, *SITE_STATEMENTS)}
    for name in sorted(set(present) - known):
        raise EvidenceError(f"{name}: not a part of a pack: it was added")


def sites_in(names: Iterable[str]) -> tuple[str, ...]:
    """Return the sites that have parts among some names."""
    return tuple(sorted({name.split("/")[1] for name in names if name.startswith("sites/")}))
