"""Packs the evidence of the jobs that a federation ran, and verifies it as a stranger would."""

import json

from almoner.audit.pack_verify import Verdict, verify_pack
from almoner.flare.evidence.audit_folders import Extras, pack_job
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.site.site_files import LEDGER, ROOT_CA
from almoner.privacy.ledger import Ledger


def prove(consortium: ProvisionedConsortium, job_id: str) -> Verdict:
    """Return the verdict on the pack of one job."""
    sites = tuple(consortium.site_folder(site) for site in consortium.declarations.consortium.sites)
    pack = pack_job(consortium.root / "server", sites, job_id, Extras())
    return verify_pack(pack, (consortium.server_kit / ROOT_CA).read_bytes())


def prove_all(consortium: ProvisionedConsortium, site: str) -> dict[tuple[str, str], Verdict]:
    """Return the verdicts on the jobs that a site admitted, one of each name and aggregation."""
    jobs = {}
    with Ledger.open(consortium.site_folder(site) / LEDGER) as ledger:
        decisions = [json.loads(entry.payload) for entry in ledger.entries() if entry.kind == "decision"]
    for found in decisions:
        if found["verdict"] == "admitted":
            spec = found["spec"]
            jobs[spec["name"], spec.get("aggregation", spec.get("trust", {})).get("kind", "")] = found["job_id"]
    return {job: prove(consortium, job_id) for job, job_id in jobs.items()}
