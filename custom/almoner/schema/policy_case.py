"""A policy's own tests: this job, that state of the ledger, this decision by these rules."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from almoner.schema.base import Count, Digest, Document, Model, Name, PlainText, UserName
from almoner.schema.site import MAX_RECORDS_PER_UNIT

RuleName = Annotated[str, StringConstraints(pattern=r"^[a-z]+\.[a-z_]+$")]
PolicyPath = Annotated[str, StringConstraints(pattern=r"^([a-z0-9_-]+/)?[a-z0-9_-]+\.yaml$")]
Days = Annotated[float, Field(ge=0, le=100_000)]


class CaseSubmitter(Model):
    """A signer who is no user of the consortium."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    org: Name
    role: Name | Literal[""]


class CasePastJob(Model):
    """An earlier job of the site.

    Args:
        share: what it holds of the account's budget.
        steps: how many it had planned; `committed` of them may have touched data, and of `released` a result left
            (of all those committed if not given).
    """

    days_ago: Days
    share: Annotated[float, Field(ge=0, le=1)]
    study: Name
    submitter: UserName
    steps: Annotated[int, Field(ge=0, le=10_001)] = 1
    committed: Annotated[int, Field(ge=0, le=10_001)] = 1
    released: Annotated[int, Field(ge=0, le=10_001)] | None = None
    state: Literal["reserved", "started", "ended"] = "ended"


class CaseWorkload(Model):
    """What is changed about the installed workload."""

    digest: Digest | None = None
    initial_weights: Digest | None = None
    dimension: Annotated[int, Field(ge=1, le=10**12)] | None = None
    units: tuple[Name, ...] | None = None
    one_record_per_unit: bool | None = None
    origin: PlainText | None = None


class PolicyCase(Model):
    """One case. All but the name and the expected decision may be left out.

    Args:
        job: a job of `jobs/`, by its file's name; `change` replaces some of its fields.
        submitter: a user of the consortium, or a stranger; the first lead if left out.
        flare_study: the study that FLARE's server names; the job's own if left out.
        at: the time of the decision.
        spent_share: what all earlier jobs hold of the account's budget; the sum of `jobs` if left out.
        approval: what the data officer said about this job.
        workload: what is changed about the installed workloads; `origin` is the package that they come from.
        exported_package: digest of the workload's package where the job was exported; that of the site's if left out.
        also_installed: names under which the job's workload is installed as well.
        nominal_records: the declared size of the site's own data sets.
        max_records_per_unit: how many records a unit of the site's own data sets may have; as declared if left out.
        public: whether the site's own data sets are registered public.
        joined: when the units of all populations were last shown to be disjoint; see `almoner site join-units`.
        roster_without: sites whose data set's size the roster does not have.
        stored_groups: how many groups the sites of the job's study were drawn into before.
        issued_in_days, valid_days: when the job was exported, seen from the decision, and for how long it is good; now,
            and for a week, if left out.
        refused_by: exactly the rules that refuse; `admitted: true` if none does.
    """

    name: PlainText
    job: Name = "heart_disease"
    change: Annotated[dict[str, Any], Field(default_factory=dict)]
    submitter: UserName | CaseSubmitter | None = None
    flare_study: Name | None = None
    at: AwareDatetime | None = None
    sites: tuple[Name, ...] | None = None
    replayed: bool = False
    expired: bool = False
    issued_in_days: Annotated[float, Field(ge=-1000, le=1000)] = 0
    valid_days: Annotated[float, Field(gt=0, le=1000)] = 7
    exported_by: PlainText | None = None
    spent_share: Annotated[float, Field(ge=0, le=1)] | None = None
    jobs: tuple[CasePastJob, ...] = ()
    approval: Literal["approved", "denied", "expired", "used", "unsound", "of_another", "of_other_code"] | None = None
    workload: CaseWorkload = CaseWorkload()
    exported_package: Digest | None = None
    also_installed: tuple[Name, ...] = ()
    nominal_records: Count | None = None
    max_records_per_unit: Annotated[int, Field(ge=2, le=MAX_RECORDS_PER_UNIT)] | None = None
    public: bool | None = None
    joined: Literal["now", "never", "before_a_change"] = "now"
    roster_without: tuple[Name, ...] = ()
    stored_groups: Count | None = None
    admitted: Literal[True] | None = None
    refused_by: Annotated[tuple[RuleName, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _expects_one_thing(self) -> "PolicyCase":
        if (self.admitted is None) == (self.refused_by is None):
            raise ValueError("say either 'admitted: true' or 'refused_by: [...]'")
        return self


class PolicyTests(Document):
    """`policies/tests/<name>.yaml`.

    Args:
        policy: the policy's file, below `policies/`. One in `NAME/` is of the consortium `provisioning/NAME.yaml`.
    """

    policy: PolicyPath
    cases: Annotated[tuple[PolicyCase, ...], Field(min_length=1)]
