"""What a site decides from: its declarations, its ledger and its clock, put together for the rules."""

import time

from almoner import __version__
from almoner.admission.history import History
from almoner.admission.request import SiteView, WorkloadFacts
from almoner.flare.site.approval_files import read_approval
from almoner.flare.site.dataset_commitments import current_commitments
from almoner.flare.site.group_files import stored_groups
from almoner.flare.site.site_files import SiteFiles
from almoner.privacy.ledger import Ledger
from almoner.schema.approval import job_digest
from almoner.schema.envelope import JobEnvelope
from almoner.workloads.registry import InstalledWorkload, inventory, workload_digest


def installed_workloads() -> dict[str, WorkloadFacts]:
    """Return what is known of every installed workload; none is imported."""
    return {name: _facts(name, known) for name, known in inventory().usable.items()}


def _facts(name: str, known: InstalledWorkload) -> WorkloadFacts:
    """Return what the rules are asked about."""
    package = known.package
    code, origin = (workload_digest(name), "") if package is None else (package.digest, package.origin)
    return WorkloadFacts(code, known.initial_weights, known.dimension, known.units, known.one_record_per_unit, origin)


def site_view(site: SiteFiles, ledger: Ledger, history: History, envelope: JobEnvelope | None) -> SiteView:
    """Return the site as it stands now.

    Args:
        envelope: the job that is asked about; None if it could not be read.
    """
    now = time.time()
    population = None if envelope is None else site.config.population_of(envelope.spec.dataset)
    sizes = {} if envelope is None else site.roster.nominal_records(envelope.spec.dataset)
    return SiteView(
        policy=site.policy,
        config=site.config,
        account=ledger.account(site.policy.account_of(population).population),
        nonce_seen=envelope is not None and ledger.seen_nonce(envelope.nonce),
        now_unix_seconds=now,
        workloads=installed_workloads(),
        version=__version__,
        nominal_records=sizes,
        history=history,
        approval=None if envelope is None else read_approval(site.policy, site.kit, history, job_digest(envelope), now),
        commitments={} if envelope is None else current_commitments(site.config, site.folder),
        keys_at_site=site.roster.keys == "site",
        stored_groups={} if envelope is None else stored_groups(site.ledger_folder, envelope.spec.study),
        study_sites=() if envelope is None else site.roster.studies.get(envelope.spec.study, ()),
    )
