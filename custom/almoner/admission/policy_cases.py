"""Runs the tests that stand beside the policies. Pure: the clock is the case's, the ledger is a sum and a list."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from almoner.admission.decide import decide
from almoner.admission.history import DAY_SECONDS, History, JoinedDataset, PastJob, datasets_to_join
from almoner.admission.request import ApprovalState, JobRequest, SiteView, Submitter, WorkloadFacts
from almoner.admission.rules import RULES
from almoner.errors import DocumentError
from almoner.privacy.budget import open_filter
from almoner.privacy.ledger import AccountState
from almoner.privacy.plans import plan_of
from almoner.schema.base import org_code
from almoner.schema.declarations import Declarations
from almoner.schema.envelope import JOB_KINDS, AnyJobSpec, JobEnvelope, workload_of
from almoner.schema.job import JobSpec
from almoner.schema.policy import SitePolicy
from almoner.schema.policy_case import CasePastJob, CaseSubmitter, PolicyCase
from almoner.schema.site import SiteConfig

FRIDAY_TEN = datetime(2027, 1, 15, 10, tzinfo=UTC)
"""When a case is decided that does not say when."""
_WEEK_SECONDS = 7 * int(DAY_SECONDS)
_PAPER, _COMMITMENT, _OLDER_COMMITMENT = "a" * 64, "b" * 64, "c" * 64


@dataclass(frozen=True)
class CaseResult:
    """What came of a case; `refused_by` is empty for an admitted job."""

    name: str
    expected: tuple[str, ...]
    refused_by: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether exactly the expected rules refused."""
        return set(self.expected) == set(self.refused_by)


@dataclass(frozen=True)
class Installation:
    """What all cases share: who takes part, the jobs by name, the installed workloads, the release."""

    declarations: Declarations
    jobs: Mapping[str, AnyJobSpec]
    workloads: Mapping[str, WorkloadFacts]
    version: str


def uncovered(results: Iterable[CaseResult]) -> tuple[str, ...]:
    """Return the rules that refuse in no case that passed."""
    exercised = {rule for result in results if result.passed for rule in result.refused_by}
    return tuple(rule.name for rule in RULES if rule.name not in exercised)


def _merged(fields: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Replace fields, and fields of fields; an aggregation, and privacy by another mechanism, as a whole."""
    merged = dict(fields)
    for name, value in change.items():
        both = isinstance(value, dict) and isinstance(fields.get(name), dict)
        inner = both and name != "aggregation" and "mechanism" not in value
        merged[name] = _merged(fields[name], value) if inner else value
    return merged


def _spec(case: PolicyCase, jobs: Mapping[str, AnyJobSpec]) -> AnyJobSpec:
    """Return the case's job."""
    if case.job not in jobs:
        raise DocumentError(f"case '{case.name}': job {case.job} is not in jobs/ → one of {', '.join(sorted(jobs))}")
    fields = _merged(jobs[case.job].model_dump(mode="json"), case.change)
    try:
        return JOB_KINDS.get(str(fields.get("kind")), JobSpec).model_validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DocumentError(f"case '{case.name}': change.{where}: {first['msg']} → correct it") from None


def _submitter(case: PolicyCase, declarations: Declarations) -> Submitter:
    """Return who submits."""
    who = case.submitter
    if isinstance(who, CaseSubmitter):
        return Submitter(who.name, org_code(who.org), who.role)
    for user in declarations.consortium.users:
        if user.name == who or (who is None and user.role == "lead"):
            return Submitter(user.name, org_code(user.org), user.role)
    source = f"provisioning/{declarations.declared}.yaml"
    raise DocumentError(f"case '{case.name}': submitter {who} is not in {source} → name, org, role")


def _past(number: int, job: CasePastJob, now: float, population: str, budget: float) -> PastJob:
    """Return an earlier job."""
    when = now - job.days_ago * DAY_SECONDS
    return PastJob(
        job_id=str(number),
        population=population,
        reserved_unix_seconds=when,
        charge=job.share * budget,
        planned=job.steps,
        study=job.study,
        submitter=job.submitter,
        committed=job.committed,
        released=job.committed if job.released is None else job.released,
        started=job.state != "reserved",
        ended_unix_seconds=when if job.state == "ended" else None,
    )


def _workloads(case: PolicyCase, made: Installation) -> dict[str, WorkloadFacts]:
    """Return the installed workloads as the case has them."""
    known = dict(made.workloads)
    if case.also_installed:
        known |= dict.fromkeys(case.also_installed, made.workloads[workload_of(made.jobs[case.job])])
    changes = case.workload.model_dump(exclude_none=True)
    return {name: replace(found, **changes) for name, found in known.items()}


def _config(case: PolicyCase, site: SiteConfig) -> SiteConfig:
    """Return the site's configuration, with data sets as the case has them."""
    changes = {"nominal_records": case.nominal_records, "public": case.public}
    given: dict[str, int | None] = {name: value for name, value in changes.items() if value is not None}
    if case.max_records_per_unit is not None:
        given |= {"max_records_per_unit": case.max_records_per_unit, "one_record_per_unit": None}
    return site.model_copy(
        update={"datasets": {name: found.model_copy(update=given) for name, found in site.datasets.items()}}
    )


def _paper(case: PolicyCase, spec: AnyJobSpec, made: Installation, now: float) -> ApprovalState | None:
    """Return what the data officer said."""
    if case.approval is None:
        return None
    known = _workloads(case, made).get(workload_of(spec))
    code = "f" * 64 if case.approval == "of_other_code" else known.digest if known else ""
    return ApprovalState(
        problem="its signature does not verify" if case.approval == "unsound" else "",
        approved=case.approval != "denied",
        expires_unix_seconds=int(now) + (-1 if case.approval == "expired" else _WEEK_SECONDS),
        digest=_PAPER,
        submitter="" if case.approval == "of_another" else _submitter(case, made.declarations).name,
        workload_digest=code,
    )


def _joined(case: PolicyCase, config: SiteConfig) -> dict[str, JoinedDataset]:
    """Return what the last join of unit ids saw."""
    seen = _OLDER_COMMITMENT if case.joined == "before_a_change" else _COMMITMENT
    return {} if case.joined == "never" else datasets_to_join(config, dict.fromkeys(config.datasets, seen))


def _view(case: PolicyCase, spec: AnyJobSpec, policy: SitePolicy, made: Installation, now: float) -> SiteView:
    """Return the site as the case has it."""
    config = _config(case, made.declarations.sites[policy.site])
    account = policy.account_of(config.population_of(spec.dataset))
    book = open_filter(account.epsilon_cap, account.delta)
    jobs = [_past(number, job, now, account.population, book.budget) for number, job in enumerate(case.jobs)]
    if case.approval == "used":
        jobs.append(PastJob("approved", account.population, 0.0, 0.0, 1, "", "", approval_digest=_PAPER))
    spent = sum(job.charge for job in jobs) if case.spent_share is None else case.spent_share * book.budget
    sizes = made.declarations.nominal_records(spec.dataset, made.declarations.consortium.sites)
    if case.nominal_records is not None and policy.site in sizes:
        sizes = {**sizes, policy.site: case.nominal_records}
    return SiteView(
        policy=policy,
        config=config,
        account=AccountState(
            account.population, account.privacy_unit, account.neighboring_relation, book, spent, spent
        ),
        nonce_seen=case.replayed,
        now_unix_seconds=now,
        workloads=_workloads(case, made),
        version=made.version,
        nominal_records={site: size for site, size in sizes.items() if site not in case.roster_without},
        history=History(tuple(jobs), joined=_joined(case, config)),
        approval=_paper(case, spec, made, now),
        commitments=dict.fromkeys(config.datasets, _COMMITMENT),
        study_sites=made.declarations.consortium.sites_of_study(spec.study),
        stored_groups={} if case.stored_groups is None else {spec.study: case.stored_groups},
    )


def run_case(case: PolicyCase, policy: SitePolicy, made: Installation) -> CaseResult:
    """Decide one case.

    Raises:
        DocumentError: the case names a job, user or field that there is not.
    """
    now = (case.at or FRIDAY_TEN).timestamp()
    spec = _spec(case, made.jobs)
    known = _workloads(case, made).get(workload_of(spec))
    issued = int(now + case.issued_in_days * DAY_SECONDS)
    envelope = JobEnvelope(
        schema_version=1,
        spec=spec,
        sites=case.sites or made.declarations.consortium.sites,
        nonce="0" * 32,
        issued_unix_seconds=issued,
        expires_unix_seconds=int(now) - 1 if case.expired else issued + int(case.valid_days * DAY_SECONDS),
        almoner_version=case.exported_by or made.version,
        workload_package=case.exported_package or (known.package if known else ""),
    )
    request = JobRequest(envelope, _submitter(case, made.declarations), case.flare_study or spec.study)
    decision = decide(request, _view(case, spec, policy, made, now), plan_of(spec, len(envelope.sites)))
    found = tuple(violation.rule for violation in decision.violations)
    return CaseResult(case.name, case.refused_by or (), found)
