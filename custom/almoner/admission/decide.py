"""decide(job, policy, ledger state) -> Decision. Pure: no clock, no file, no network."""

from almoner.admission.cost import job_cost
from almoner.admission.request import JobRequest, SiteView
from almoner.admission.rule import Question, Rule, Verdict
from almoner.admission.rules import RULES
from almoner.privacy.plan import JobPlan
from almoner.schema.approval import job_digest
from almoner.schema.base import digest
from almoner.schema.decision import Decision, Violation, show_epsilon
from almoner.schema.envelope import AnyJobSpec
from almoner.schema.job import JobSpec
from almoner.schema.psi import PsiSpec
from almoner.schema.statistics import StatisticsSpec


def describe_ask(spec: AnyJobSpec) -> str:
    """Return what a job asks for, as decisions print it."""
    if isinstance(spec, JobSpec) and spec.target_epsilon is None:
        return "training with no privacy (public data)"
    mantissa, _, exponent = f"{spec.target_delta:e}".partition("e")
    delta = f"{float(mantissa):g}e{int(exponent)}"
    return f"{' and '.join(_parts(spec)) or 'nothing'} ({spec.privacy_unit}, δ={delta})"


def _parts(spec: AnyJobSpec) -> list[str]:
    """Return the parts of what a job asks for."""
    if isinstance(spec, StatisticsSpec):
        number = f"{len(spec.queries)} statistics" if len(spec.queries) > 1 else "one statistic"
        return [f"{number}, {spec.trust.kind}, ε={show_epsilon(spec.privacy.target_epsilon)}"]
    parts = []
    if isinstance(spec, PsiSpec):
        parts.append(f"alignment with lists of {spec.max_identifiers}")
    elif spec.rounds and spec.target_epsilon is not None:
        shared = ", distributed noise" if spec.privacy.mechanism == "distributed_dp" else ""
        parts.append(f"training ε={show_epsilon(spec.target_epsilon)}{shared}")
    return parts + [f"{release.kind} ε={show_epsilon(release.epsilon)}" for release in spec.releases]


def ask_rules(question: Question) -> tuple[tuple[Rule, Verdict], ...]:
    """Ask every rule."""
    return tuple((rule, rule.check(question)) for rule in RULES)


def decide(request: JobRequest, site: SiteView, plan: JobPlan) -> Decision:
    """Ask every rule, and admit the job if none objects.

    *Guarantee*: the result is a function of the arguments alone, and lists all violated rules.
    """
    spec = request.envelope.spec
    cost = job_cost(spec, plan, site.account, len(request.envelope.sites))
    violations = tuple(
        Violation(rule=rule.name, finding=verdict.finding, remedy=verdict.remedy)
        for rule, verdict in ask_rules(Question(request, site, cost))
        if verdict.status == "broken"
    )
    approval = site.approval if site.policy.require.manual_approval else None
    return Decision(
        site=site.policy.site,
        job_name=spec.name,
        study=spec.study,
        submitter=request.submitter.name,
        purpose=spec.purpose,
        verdict="refused" if violations else "admitted",
        envelope_digest=digest(request.envelope),
        job_digest=job_digest(request.envelope),
        policy_digest=digest(site.policy),
        approval_digest=approval.digest if approval else "",
        asks=describe_ask(spec),
        noise_multiplier=cost.noise_multiplier,
        charge=cost.charge,
        epsilon_spent=site.account.epsilon_spent,
        epsilon_after=cost.epsilon_after,
        epsilon_cap=site.account.filter.epsilon_cap,
        violations=violations,
    )


def refuse_unread(site: SiteView, job_name: str, violations: tuple[Violation, ...]) -> Decision:
    """Refuse a job whose signature, files or spec do not even allow the rules to be asked."""
    return Decision(
        site=site.policy.site,
        job_name=job_name,
        study="",
        submitter="",
        purpose="",
        verdict="refused",
        envelope_digest="",
        job_digest="",
        policy_digest=digest(site.policy),
        approval_digest="",
        asks="",
        noise_multiplier=0.0,
        charge=0.0,
        epsilon_spent=site.account.epsilon_spent,
        epsilon_after=site.account.epsilon_spent,
        epsilon_cap=site.account.filter.epsilon_cap,
        violations=violations,
    )
