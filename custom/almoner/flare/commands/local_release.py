"""Answers a request at one site, without the server: by the same rules, from the same account, into the same book.

    signed request → decide() → reserve → start → commit → read, add up, noise → digest of what leaves → settle

The step is committed before the data is opened. A request that was answered before is decided like any other, but for
nothing, and gets the same numbers. A process that is killed leaves its job started, all of it charged, until the site's
operator closes it (`almoner ledger abandon`). Quotas are looked at before the reservation: two processes at once may
share what a quota has left for one; what the account has left they cannot.

Who may log in to a study is not checked here: FLARE's server does that, and it is not asked. Any user of the consortium
whom the site's policy admits may name any study that the policy admits, and is counted against that study's quotas.
"""

import hashlib
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from almoner.admission.approvals import DAY_SECONDS
from almoner.admission.decide import decide
from almoner.admission.request import JobRequest
from almoner.errors import DocumentError
from almoner.flare.commands.signing_in import sign_envelope
from almoner.flare.door.admitting import record_decision, reserve_worst_case, submitted_facts
from almoner.flare.door.render import new_envelope, render_app
from almoner.flare.site.ledger_history import HistoryReader
from almoner.flare.site.policy_record import record_policy
from almoner.flare.site.release_store import cells_bytes, find_release, keep_release, release_key
from almoner.flare.site.site_files import SiteFiles
from almoner.flare.site.site_view import site_view
from almoner.flare.site.tree import tree_digest
from almoner.privacy.ledger import Ledger
from almoner.privacy.plan import JobPlan
from almoner.privacy.plans import plan_of
from almoner.privacy.statistics_plan import STATISTICS_STEP
from almoner.release.answers import interpret
from almoner.release.laws import local_noise
from almoner.release.run import run_statistics
from almoner.schema.answer import Answer
from almoner.schema.decision import Decision
from almoner.schema.envelope import JobEnvelope
from almoner.schema.statistics import StatisticsSpec

_NOTHING = JobPlan(0.0, ())
"""What it costs to be told again what was told before."""


@dataclass(frozen=True)
class LocalRelease:
    """How a request ended at a site.

    Args:
        decision: admitted, or refused with every broken rule.
        job_id: of the job that made the release; "" if it was refused.
        repeated: whether it was answered before, and cost nothing now.
        answers: none if it was refused.
    """

    decision: Decision
    job_id: str
    repeated: bool
    answers: tuple[Answer, ...]


def release_at_site(site: SiteFiles, spec: StatisticsSpec, user_kit: Path) -> LocalRelease:
    """Decide about a request at one site, and answer it.

    *Guarantee*: as `run_statistics`; the charge is durable in the site's ledger before its data is opened, and the
    digest of the numbers before they are returned.

    Args:
        user_kit: the startup kit of who asks; its certificate is what the rules look at.

    Raises:
        DocumentError: the request needs other sites.
        ProvisioningError, PolicyViolation: the kit is unusable, or of another consortium.
        DataError: the data file cannot be read; what was committed stays charged.
        LedgerError: the ledger is unusable.
    """
    envelope = _envelope(site, spec)
    app = sign_envelope(envelope, user_kit, site.root_ca, site.policy.revoked)
    request = JobRequest(envelope, app.signer, spec.study)
    with site.ledger() as ledger:
        key = release_key(site, spec)
        stored = find_release(site, ledger, spec, key)
        decision, job_id = _decide(site, ledger, request, _NOTHING if stored else plan_of(spec, len(envelope.sites)))
        if decision.verdict == "refused":
            return LocalRelease(decision, "", False, ())
        if stored is not None:
            return LocalRelease(decision, stored.job_id, True, _read(spec, stored.to_array()))
        cells = _carry_out(site, ledger, job_id, envelope, spec)
        keep_release(site, key, job_id, cells)
        ledger.settle(job_id, "answered")
        return LocalRelease(decision, job_id, False, _read(spec, cells))


def _envelope(site: SiteFiles, spec: StatisticsSpec) -> JobEnvelope:
    """Return the request as it would be submitted: for the sites of its study that have its data set.

    An officer's approval names these sites, so that it is for either way of asking.
    """
    study = site.roster.studies.get(spec.study, ())
    sites = tuple(found for found in site.roster.nominal_records(spec.dataset) if found in study)
    if spec.trust.kind != "local":
        raise DocumentError(f"request {spec.name}: trust {spec.trust.kind} needs the other sites → almoner job submit")
    if len(sites) < spec.min_sites:
        raise DocumentError(
            f"request {spec.name}: study {spec.study} has {len(sites)} sites with data set {spec.dataset}, "
            f"it wants min_sites={spec.min_sites} → correct study or dataset, or lower min_sites"
        )
    return new_envelope(spec, sites, DAY_SECONDS)  # asked and answered at once


def _decide(site: SiteFiles, ledger: Ledger, request: JobRequest, plan: JobPlan) -> tuple[Decision, str]:
    """Ask all rules, reserve what the request costs, and record the decision; return it with the job's id."""
    reader, job_id = HistoryReader(), str(uuid.uuid4())
    record_policy(site, ledger, reader.read(ledger))
    view = site_view(site, ledger, reader.read(ledger), request.envelope)
    decision = decide(request, view, plan)
    if decision.verdict == "admitted" and plan.steps:
        decision = reserve_worst_case(ledger, job_id, request, decision, plan, view)
    return record_decision(site, ledger, job_id, decision, submitted_facts(view, request.envelope)), job_id


def _carry_out(
    site: SiteFiles, ledger: Ledger, job_id: str, envelope: JobEnvelope, spec: StatisticsSpec
) -> NDArray[np.int64]:
    """Commit the step, read the data, noise, and write down what leaves."""
    ledger.start(job_id, tree_digest(render_app(envelope)))
    with ExitStack() as undo:
        undo.callback(ledger.close_dead, job_id, "the request could not be answered")
        ledger.commit(job_id, STATISTICS_STEP)
        cells = run_statistics(site.folder / site.config.datasets[spec.dataset].path, spec)
        ledger.release(job_id, STATISTICS_STEP, hashlib.sha256(cells_bytes(cells)).hexdigest())
        undo.pop_all()
    return cells


def _read(spec: StatisticsSpec, cells: NDArray[np.int64]) -> tuple[Answer, ...]:
    """Read the numbers of one site."""
    return interpret(spec, cells, local_noise(spec))
