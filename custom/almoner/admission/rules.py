"""The rules of admission, one small pure function each.

A rule looks at the request, the site and the job's cost, and returns what is wrong, or nothing. All rules
are always asked, so that a submitter reads everything to mend at once. No rule sees data: verdicts and
texts depend on declared parameters and on the ledger alone.
"""

from collections.abc import Callable, Iterator

from almoner.admission.cost import JobCost
from almoner.admission.request import JobRequest, SiteView
from almoner.schema.base import org_code
from almoner.schema.decision import Violation, show_epsilon

Rule = Callable[[JobRequest, SiteView, JobCost], Iterator[Violation]]


def _listed(values: tuple[str, ...]) -> str:
    """Return names the way refusals print a list."""
    return "[" + ", ".join(values) + "]"


def submitter(request: JobRequest, site: SiteView, cost: JobCost) -> Iterator[Violation]:
    """The signer's role and organisation must be admitted by the policy."""
    who, allowed = request.submitter, site.policy.allow.submitters
    if not who.role:
        yield Violation(
            rule="submitter.role",
            finding=f"signed with a certificate that is no user's ({who.name})",
            remedy="submit with the startup kit of an admitted user",
        )
    elif not any(rule.role == who.role and who.org in {org_code(org) for org in rule.orgs} for rule in allowed):
        names = _listed(tuple(f"{rule.role} of {'/'.join(rule.orgs)}" for rule in allowed))
        yield Violation(
            rule="submitter.role",
            finding=f"{who.name} is {who.role} of {who.org}; admitted are {names}",
            remedy="ask an admitted user to submit",
        )


def envelope(request: JobRequest, site: SiteView, cost: JobCost) -> Iterator[Violation]:
    """The envelope must be for this site, fresh, unexpired, and from the site's own release."""
    sealed = request.envelope
    if site.policy.site not in sealed.sites:
        yield Violation(rule="envelope.sites", finding=f"the job is for {_listed(sealed.sites)}", remedy="")
    if site.nonce_seen:
        yield Violation(
            rule="envelope.replayed", finding="this exported job was submitted before", remedy="export it again"
        )
    if site.now_unix_seconds > sealed.expires_unix_seconds:
        yield Violation(rule="envelope.expired", finding="the exported job is too old", remedy="export it again")
    if sealed.almoner_version != site.version:
        yield Violation(
            rule="envelope.version",
            finding=f"exported by almoner {sealed.almoner_version}, the site has {site.version}",
            remedy="export it with the site's release",
        )


def study(request: JobRequest, site: SiteView, cost: JobCost) -> Iterator[Violation]:
    """The study must be admitted, and be the one that FLARE ran the submission under."""
    asked, allowed = request.envelope.spec.study, site.policy.allow.studies
    if asked not in allowed:
        yield Violation(rule="allow.studies", finding=f"{asked} is not in {_listed(allowed)}", remedy="")
    if request.flare_study != asked:
        yield Violation(
            rule="study.session",
            finding=f"submitted under FLARE study {request.flare_study or 'default'}, the job says {asked}",
            remedy=f"log in with --study {asked}",
        )


def workload(request: JobRequest, site: SiteView, cost: JobCost) -> Iterator[Violation]:
    """The workload must be installed here and admitted; the data set must be configured."""
    spec, allowed = request.envelope.spec, site.policy.allow.workloads
    if spec.workload not in site.workloads:
        known = _listed(tuple(sorted(site.workloads)))
        yield Violation(
            rule="workload.known", finding=f"{spec.workload} is not installed; there are {known}", remedy="set workload"
        )
    elif spec.workload not in allowed:
        yield Violation(
            rule="allow.workloads", finding=f"{spec.workload} is not in {_listed(allowed)}", remedy="set workload"
        )
    if spec.dataset not in site.config.datasets:
        known = _listed(tuple(sorted(site.config.datasets)))
        yield Violation(
            rule="dataset.known",
            finding=f"{spec.dataset} is not a data set here; there are {known}",
            remedy="set dataset",
        )


def account(request: JobRequest, site: SiteView, cost: JobCost) -> Iterator[Violation]:
    """Unit, relation and δ must be those of the account."""
    asked, has = request.envelope.spec.privacy, site.policy.account
    if asked.unit != has.privacy_unit:
        yield Violation(
            rule="account.unit",
            finding=f"unit is {asked.unit}, the account's is {has.privacy_unit}",
            remedy="set privacy.unit",
        )
    if asked.neighboring_relation != has.neighboring_relation:
        yield Violation(
            rule="account.relation",
            finding=f"relation is {asked.neighboring_relation}, the account's is {has.neighboring_relation}",
            remedy="set privacy.neighboring_relation",
        )
    if asked.target_delta > has.delta:
        yield Violation(
            rule="account.delta",
            finding=f"δ={asked.target_delta:g} is above the account's {has.delta:g}",
            remedy="lower privacy.target_delta",
        )


def limits(request: JobRequest, site: SiteView, cost: JobCost) -> Iterator[Violation]:
    """One job may not be too large in ε, too quiet, too dense, or too long."""
    spec, bounds = request.envelope.spec, site.policy.limits
    if cost.job_epsilon > bounds.epsilon_per_job:
        yield Violation(
            rule="limits.epsilon_per_job",
            finding=f"the job's ε={show_epsilon(cost.job_epsilon)} is above {show_epsilon(bounds.epsilon_per_job)}",
            remedy="lower target_epsilon" if spec.rounds else "lower the release's epsilon",
        )
    if spec.rounds and cost.noise_multiplier < bounds.min_noise_multiplier:
        yield Violation(
            rule="limits.min_noise",
            finding=f"noise multiplier {cost.noise_multiplier:.3f} is below {bounds.min_noise_multiplier:.3f}",
            remedy="lower target_epsilon, or ask for more rounds",
        )
    if spec.privacy.sampling_prob > bounds.max_sampling_prob:
        yield Violation(
            rule="limits.sampling",
            finding=f"sampling_prob {spec.privacy.sampling_prob:g} is above {bounds.max_sampling_prob:g}",
            remedy="lower privacy.sampling_prob",
        )
    if spec.rounds > bounds.max_rounds:
        yield Violation(
            rule="limits.max_rounds",
            finding=f"{spec.rounds} rounds are more than {bounds.max_rounds}",
            remedy="lower rounds",
        )


def requirements(request: JobRequest, site: SiteView, cost: JobCost) -> Iterator[Violation]:
    """The job must bring enough sites and an accepted protection."""
    spec, needs = request.envelope.spec, site.policy.require
    if spec.min_sites < needs.min_sites:
        yield Violation(
            rule="require.min_sites",
            finding=f"min_sites {spec.min_sites} is below {needs.min_sites}",
            remedy=f"set min_sites to at least {needs.min_sites}",
        )
    if spec.aggregation.kind not in needs.protection:
        yield Violation(
            rule="require.protection",
            finding=f"{spec.aggregation.kind} is not in {_listed(needs.protection)}",
            remedy="set aggregation.kind",
        )


def budget(request: JobRequest, site: SiteView, cost: JobCost) -> Iterator[Violation]:
    """The job's worst case must fit into what the account has left."""
    book = site.account
    if book.filter.fits(book.rdp_spent, cost.charge):
        return
    spec = request.envelope.spec
    beside = " beside the release" if spec.releases else ""
    fits = f"fits training ε≤{cost.largest_epsilon:.2f}{beside}" if cost.largest_epsilon else "no such job fits"
    yield Violation(
        rule="budget.remaining",
        finding=f"account at ε={show_epsilon(book.epsilon_spent)} of {show_epsilon(book.filter.epsilon_cap)}, {fits}",
        remedy="lower target_epsilon" if cost.largest_epsilon else "",
    )


RULES: tuple[Rule, ...] = (budget, submitter, envelope, study, workload, account, limits, requirements)
