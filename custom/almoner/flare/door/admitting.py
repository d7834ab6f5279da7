"""What follows a decision at a site, whoever asked: the worst case is reserved, and the decision is written down."""

from typing import Any

from almoner import __version__
from almoner.admission.request import JobRequest, SiteView
from almoner.errors import BudgetExceeded, PolicyViolation
from almoner.flare.door.render import render_app
from almoner.flare.site.signed_decisions import sign_decision
from almoner.flare.site.site_files import SiteFiles
from almoner.flare.site.tree import tree_digest
from almoner.privacy.ledger import Ledger, Reservation
from almoner.privacy.plan import JobPlan
from almoner.schema.decision import Decision, Violation
from almoner.schema.envelope import JobEnvelope, workload_of
from almoner.workloads.installed import package_digest


def reserve_worst_case(
    ledger: Ledger, job_id: str, request: JobRequest, decision: Decision, plan: JobPlan, view: SiteView
) -> Decision:
    """Reserve the worst case; a race for the last of the budget is lost here, with the figures of now."""
    reservation = Reservation(
        job_id=job_id,
        nonce=request.envelope.nonce,
        envelope_digest=decision.envelope_digest,
        tree_digest=tree_digest(render_app(request.envelope)),
        population=view.config.datasets[request.envelope.spec.dataset].population,
        privacy_unit=request.envelope.spec.privacy_unit,
        neighboring_relation=request.envelope.spec.neighboring_relation,
        steps=plan.steps,
    )
    try:
        ledger.reserve(reservation)
    except (BudgetExceeded, PolicyViolation) as error:
        lost = Violation(rule="budget.reserve", finding=str(error), remedy="plan the job again")
        return decision.model_copy(update={"verdict": "refused", "violations": (lost,)})
    return decision


def submitted_facts(view: SiteView, envelope: JobEnvelope) -> dict[str, Any]:
    """Return what the ledger keeps of a submission beside the decision: all that a data officer is to approve."""
    spec = envelope.spec
    known = view.workloads.get(workload_of(spec))
    return {
        "spec": spec.model_dump(mode="json"),
        "sites": list(envelope.sites),
        "workload_digest": known.digest if known else "",
        "dataset_commitment": view.commitments.get(spec.dataset, ""),
    }


def record_decision(
    site: SiteFiles, ledger: Ledger, job_id: str, decision: Decision, facts: dict[str, Any]
) -> Decision:
    """Write a decision, admitted or refused, into the ledger, signed: what was asked, by which rules, code and data.

    The commitment to the data is in the ledger alone; a submitter never reads it.
    """
    package = {"version": __version__, "digest": package_digest()}
    about = {"job_id": job_id[:64], "package": package, **facts}
    ledger.record("decision", sign_decision(site.private_key(), {**decision.model_dump(mode="json"), **about}))
    return decision
