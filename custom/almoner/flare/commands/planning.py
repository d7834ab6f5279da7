"""What each site would answer to a job, before it is submitted: the site's own rules on its own policy."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from almoner import __version__
from almoner.admission.cost import job_cost
from almoner.admission.decide import ask_rules, decide
from almoner.admission.history import History, datasets_to_join
from almoner.admission.request import JobRequest, SiteView, Submitter
from almoner.admission.rule import Question, Rule, Verdict
from almoner.errors import DocumentError
from almoner.flare.commands.exporting import fresh_envelope
from almoner.flare.site.approval_files import read_approval
from almoner.flare.site.dataset_commitments import current_commitments
from almoner.flare.site.group_files import stored_groups
from almoner.flare.site.ledger_history import HistoryReader
from almoner.flare.site.site_files import LEDGER
from almoner.flare.site.site_view import installed_workloads
from almoner.privacy.ledger import AccountState, Ledger
from almoner.privacy.plans import plan_of
from almoner.schema.approval import job_digest
from almoner.schema.base import org_code
from almoner.schema.decision import Decision
from almoner.schema.declarations import Declarations
from almoner.schema.envelope import AnyJobSpec
from almoner.schema.policy import Account

_AS_JOINED = "0" * 64
"""Stands for a commitment where no site is asked."""


def plan_job(
    spec: AnyJobSpec, declarations: Declarations, consortium: Path | None = None, user: str | None = None
) -> list[Decision]:
    """Return each site's decision as it would be now.

    Args:
        consortium: a provisioned consortium on this machine, whose ledgers are asked; without it every
            account is taken as untouched.
        user: who would submit; the first lead of the consortium if not given.

    Raises:
        DocumentError: the user is not of the consortium, or the study has too few sites.
    """
    request = _job_request(spec, declarations, user)
    plan = plan_of(spec, len(request.envelope.sites))
    return [
        decide(request, _planned_view(request, site, declarations, consortium), plan) for site in request.envelope.sites
    ]


def explain_job(
    spec: AnyJobSpec, site: str, declarations: Declarations, consortium: Path | None = None, user: str | None = None
) -> tuple[tuple[Rule, Verdict], ...]:
    """Return what every rule of one site says about a job; see `plan_job`.

    Raises:
        DocumentError: as `plan_job`, or the site is not of the consortium.
    """
    if site not in declarations.sites:
        raise DocumentError(f"site {site}: not in the consortium → one of {', '.join(declarations.sites)}")
    request = _job_request(spec, declarations, user)
    view = _planned_view(request, site, declarations, consortium)
    num_sites = len(request.envelope.sites)
    cost = job_cost(spec, plan_of(spec, num_sites), view.account, num_sites)
    return ask_rules(Question(request, view, cost))


def _job_request(spec: AnyJobSpec, declarations: Declarations, user: str | None) -> JobRequest:
    """Return a job as a user would submit it now; see `plan_job`."""
    envelope = fresh_envelope(spec, declarations)
    return JobRequest(envelope, _submitter(declarations, user), spec.study)


def _planned_view(request: JobRequest, site: str, declarations: Declarations, consortium: Path | None) -> SiteView:
    """Return a site as it stands now, with the policy of the declarations.

    Args:
        consortium: see `plan_job`; without it there are no earlier jobs and no approvals, and populations count
            as disjoint.
    """
    spec, config = request.envelope.spec, declarations.sites[site]
    policy = declarations.policies[site].under(declarations.floor)
    untouched = dict.fromkeys(config.datasets, _AS_JOINED)
    view = SiteView(
        policy=policy,
        config=config,
        account=_account(policy.account_of(config.population_of(spec.dataset)), site, consortium),
        nonce_seen=False,
        now_unix_seconds=time.time(),
        workloads=installed_workloads(),
        version=__version__,
        nominal_records=declarations.nominal_records(spec.dataset, declarations.consortium.sites),
        history=History(joined=datasets_to_join(config, untouched)),
        commitments=untouched,
        study_sites=declarations.consortium.sites_of_study(spec.study),
    )
    if consortium is None:
        return view
    folder = consortium / "sites" / site
    with Ledger.open(folder / LEDGER) as ledger:
        history = HistoryReader().read(ledger)
    approval = read_approval(policy, folder / "kit", history, job_digest(request.envelope), view.now_unix_seconds)
    return replace(
        view,
        history=history,
        approval=approval,
        commitments=current_commitments(config, folder),
        stored_groups=stored_groups((folder / LEDGER).parent, spec.study),
    )


def _submitter(declarations: Declarations, user: str | None) -> Submitter:
    """Return who would submit."""
    for entry in declarations.consortium.users:
        if entry.name == user or (user is None and entry.role == "lead"):
            return Submitter(name=entry.name, org=org_code(entry.org), role=entry.role)
    raise DocumentError(
        f"user {user or 'with role lead'}: not in provisioning/{declarations.declared}.yaml → give one with --user"
    )


def _account(account: Account, site: str, consortium: Path | None) -> AccountState:
    """Return a site's account as its ledger has it, or as it would be opened."""
    if consortium is not None:
        with Ledger.open(consortium / "sites" / site / LEDGER) as ledger:
            return ledger.account(account.population)
    with (
        tempfile.TemporaryDirectory(prefix="almoner-plan-") as folder,
        Ledger.create(Path(folder) / "ledger.sqlite", site) as ledger,
    ):
        return ledger.open_account(account)
