"""Rules about jobs together: the account, shares of it, rates, pauses, and the data officer's approval.

Shares are of the account's Rényi budget B: charges at the account's order add up, the ε of jobs do not.
"""

from datetime import UTC, datetime

from almoner.admission.history import DAY_SECONDS, Whose, datasets_to_join
from almoner.admission.request import ApprovalState
from almoner.admission.rule import UNSET, Question, Verdict, broken, holds
from almoner.schema.approval import job_digest
from almoner.schema.decision import show_epsilon
from almoner.schema.envelope import workload_of
from almoner.schema.job import JobSpec


def budget_remaining(asked: Question) -> Verdict:
    """The job's worst case must fit into what the account has left."""
    book, cost = asked.site.account, asked.cost
    state = f"account at ε={show_epsilon(book.epsilon_spent)} of {show_epsilon(book.filter.epsilon_cap)}"
    if book.filter.fits(book.rdp_spent, cost.charge):
        return holds(f"{state}, at ε={show_epsilon(cost.epsilon_after)} with this job")
    spec = asked.spec
    what = "training" if isinstance(spec, JobSpec) else "statistics"
    beside = " beside the release" if isinstance(spec, JobSpec) and spec.releases else ""
    fits = f"fits {what} ε≤{cost.largest_epsilon:.2f}{beside}" if cost.largest_epsilon else "no such job fits"
    return broken(f"{state}, {fits}", "lower target_epsilon" if cost.largest_epsilon else "")


def account_disjoint(asked: Question) -> Verdict:
    """Where a site has several accounts, no unit may be in two populations as the data is now.

    An account counts as long as the ledger has it: leaving it out of the policy does not end it.
    """
    site = asked.site
    populations = {account.population for account in site.policy.accounts} | site.history.populations
    if len(populations) == 1:
        return Verdict("unset", "the site has one account")
    names = " and ".join(sorted(populations))
    if site.history.joined == datasets_to_join(site.config, site.commitments):
        return holds(f"populations {names} were shown to be disjoint on the data as it is")
    return broken(
        f"populations {names} were not shown to be disjoint since the data changed",
        "the site's operator runs `almoner site join-units`",
    )


def _share(asked: Question, most: float | None, held: float, what: str, remedy: str) -> Verdict:
    """Compare a part of the account, with this job, with the share of the budget that it may be."""
    if most is None:
        return UNSET
    budget = asked.site.account.filter.budget
    figures = f"{what} {held / budget:.1%} of the budget, with this job {(held + asked.cost.charge) / budget:.1%}"
    text = f"{figures}; at most {most:.1%}"
    return holds(text) if held + asked.cost.charge <= most * budget else broken(text, remedy)


def share_per_month(asked: Question) -> Verdict:
    """Jobs of one calendar month may take so much of the account."""
    held = asked.site.history.charge_of_month(asked.site.now_unix_seconds, asked.site.account.population)
    most = asked.site.policy.quotas.budget_share_per_month
    return _share(asked, most, held, "this month holds", "wait for the next month, or lower target_epsilon")


def _held(asked: Question, whose: Whose, name: str) -> float:
    """Return what one study's or person's jobs hold of the account."""
    return asked.site.history.charge_of(whose, name, asked.site.account.population)


def share_per_study(asked: Question) -> Verdict:
    """One study may take so much of the account, for life."""
    name, most = asked.spec.study, asked.site.policy.quotas.budget_share_per_study
    return _share(asked, most, _held(asked, "study", name), f"study {name} holds", "lower target_epsilon")


def share_per_submitter(asked: Question) -> Verdict:
    """One person's jobs may take so much of the account, for life."""
    name, most = asked.request.submitter.name, asked.site.policy.quotas.budget_share_per_submitter
    return _share(asked, most, _held(asked, "submitter", name), f"{name} holds", "lower target_epsilon")


def _rate(asked: Question, most: int | None, whose: Whose, name: str) -> Verdict:
    """Compare the jobs of the last 24 hours with what is allowed."""
    if most is None:
        return UNSET
    count = asked.site.history.admitted_today(whose, name, asked.site.now_unix_seconds)
    text = f"{count} jobs of {name} were admitted within 24 hours; at most {most}"
    return holds(text) if count < most else broken(text, "wait")


def jobs_per_day_per_study(asked: Question) -> Verdict:
    """One study may have so many jobs a day."""
    return _rate(asked, asked.site.policy.quotas.jobs_per_day_per_study, "study", asked.spec.study)


def jobs_per_day_per_submitter(asked: Question) -> Verdict:
    """One person may have so many jobs a day."""
    most = asked.site.policy.quotas.jobs_per_day_per_submitter
    return _rate(asked, most, "submitter", asked.request.submitter.name)


def _pause(asked: Question, whose: Whose, name: str) -> Verdict:
    """Count the jobs that died lately, and what they took with them."""
    pause = asked.site.policy.quotas.pause
    if pause is None:
        return UNSET
    since = asked.site.now_unix_seconds - pause.days * DAY_SECONDS
    dead = asked.site.history.dead(whose, name, since)
    steps = sum(job.committed for job in dead)
    text = f"{len(dead)} jobs of {name} died within {pause.days} days, {steps} steps charged for nothing"
    text += f"; {pause.after_dead_jobs} make a pause"
    return broken(text, "find out why they die; wait") if len(dead) >= pause.after_dead_jobs else holds(text)


def pause_study(asked: Question) -> Verdict:
    """A study whose jobs die has to wait."""
    return _pause(asked, "study", asked.spec.study)


def pause_submitter(asked: Question) -> Verdict:
    """A person whose jobs die has to wait."""
    return _pause(asked, "submitter", asked.request.submitter.name)


def _about_another(asked: Question, paper: ApprovalState) -> str:
    """Return what an approval is about that this job is not, "" if it is about this one."""
    facts = asked.site.workloads.get(workload_of(asked.spec))
    wanted, installed = paper.workload_digest, facts.digest if facts else ""
    if paper.submitter != asked.request.submitter.name:
        return f"it is for {paper.submitter}, not for {asked.request.submitter.name}"
    if wanted != installed:
        return f"it is for the workload's code {wanted[:16] or 'none'}, {installed[:16] or 'none'} is installed"
    return ""


def manual_approval(asked: Question) -> Verdict:
    """The site's data officer must have approved this job, of this submitter, with this code, for one run."""
    if asked.site.policy.require.manual_approval is None:
        return UNSET
    paper, about = asked.site.approval, f"digest {job_digest(asked.request.envelope)}"
    if paper is None:
        return broken(f"awaiting approval of {about}", "the site's data officer decides; then submit it again")
    if paper.problem:
        return broken(f"the approval of {about} does not count: {paper.problem}", "ask the data officer again")
    if not paper.approved:
        return broken(f"the data officer denied {about}")
    if stray := _about_another(asked, paper):
        return broken(f"the approval of {about} does not count: {stray}", "ask the data officer again")
    until = datetime.fromtimestamp(paper.expires_unix_seconds, UTC).isoformat(timespec="seconds")
    if asked.site.now_unix_seconds > paper.expires_unix_seconds:
        return broken(f"the approval of {about} expired at {until}", "ask the data officer again")
    if asked.site.history.approval_in_use(paper.digest):
        return broken(f"the approval of {about} was used by another job", "ask the data officer again")
    return holds(f"{about} is approved until {until}")
