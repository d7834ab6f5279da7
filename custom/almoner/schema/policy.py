"""What a consortium and its sites allow. A site's policy can only tighten the consortium's floor.

Fields without a default must be written. The others may be left out, which means "no such restriction"; a
floor that has one demands it of every site. No privacy parameter has a default.
"""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from almoner.errors import DocumentError
from almoner.schema.base import (
    Count,
    Delta,
    Digest,
    Document,
    Epsilon,
    Model,
    Name,
    NeighboringRelation,
    PlainText,
    Probability,
    ProtectionKind,
    TrustModel,
    UserName,
)
from almoner.schema.job import ByzantineSites, ReleaseKind
from almoner.schema.psi import MAX_IDENTIFIERS
from almoner.schema.statistics import TrustKind

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Share = Annotated[float, Field(gt=0, le=1)]
"""A share of an account's Rényi budget. Charges add up; the ε of jobs do not."""
Pins = dict[Name, Annotated[tuple[Digest, ...], Field(min_length=1)]]
"""Workload → the digests of it that are accepted."""


class Account(Model):
    """A privacy account: for one population and unit, for life; it never refills."""

    population: Name
    privacy_unit: Name
    neighboring_relation: NeighboringRelation
    epsilon_cap: Epsilon
    delta: Delta


class AccountFloor(Model):
    """The largest account that any site of the consortium may open."""

    max_epsilon_cap: Epsilon
    max_delta: Delta


class Limits(Model):
    """Bounds on one job.

    Args:
        max_steps: noisy steps of the whole job, rounds times local steps.
    """

    epsilon_per_job: Epsilon
    min_noise_multiplier: Annotated[float, Field(gt=0, le=1000)]
    max_sampling_prob: Probability
    max_rounds: Annotated[int, Field(ge=1, le=10_000)]
    max_steps: Count | None = None


class Pause(Model):
    """A pause for a submitter, and for a study, whose jobs die.

    Args:
        after_dead_jobs: so many jobs that were charged and ended before their last result left.
        days: how far back they count; the pause ends when the oldest is older.
    """

    after_dead_jobs: Annotated[int, Field(ge=1, le=1000)]
    days: Annotated[int, Field(ge=1, le=366)]


class Quotas(Model):
    """Bounds on jobs together. Shares are of the account's Rényi budget, reserved or committed.

    Args:
        budget_share_per_month: of the calendar month in UTC.
        budget_share_per_study: of all jobs of one study, for life.
        budget_share_per_submitter: of all jobs of one person, for life.
        jobs_per_day_per_study: jobs admitted within 24 hours.
        jobs_per_day_per_submitter: jobs admitted within 24 hours.
    """

    budget_share_per_month: Share | None = None
    budget_share_per_study: Share | None = None
    budget_share_per_submitter: Share | None = None
    jobs_per_day_per_study: Count | None = None
    jobs_per_day_per_submitter: Count | None = None
    pause: Pause | None = None


class SubmitterRule(Model):
    """Who may submit: users with this FLARE role from one of these organisations; if `users` is given, only they."""

    role: Name
    orgs: Annotated[tuple[Name, ...], Field(min_length=1)]
    users: Annotated[tuple[UserName, ...], Field(min_length=1)] | None = None


class PurposeGrant(Model):
    """A purpose that a study may have here.

    Args:
        purpose: the job's `purpose`, word for word; any if left out.
        until: the last day, in UTC; none if left out.
    """

    study: Name
    purpose: PlainText | None = None
    until: date | None = None


class Window(Model):
    """Hours in which jobs are admitted, in UTC: from `from_hour`:00 until just before `to_hour`:00."""

    days: Annotated[tuple[Day, ...], Field(min_length=1)]
    from_hour: Annotated[int, Field(ge=0, le=23)]
    to_hour: Annotated[int, Field(ge=1, le=24)]

    @model_validator(mode="after")
    def _is_not_empty(self) -> "Window":
        if self.to_hour <= self.from_hour:
            raise ValueError(f"to_hour: {self.to_hour} is not after from_hour {self.from_hour}; write two windows")
        return self

    @property
    def cells(self) -> frozenset[tuple[int, int]]:
        """Return the hours of the week that it holds, as (day from Monday = 0, hour)."""
        return frozenset((DAYS.index(day), hour) for day in self.days for hour in range(self.from_hour, self.to_hour))


class PsiGrant(Model):
    """Leave to let other sites learn which records this one has in common with them; needs `manual_approval`.

    Args:
        max_identifiers: the longest list that the others may compare with; each entry of it is a guess.
    """

    max_identifiers: Annotated[int, Field(ge=1, le=MAX_IDENTIFIERS)]


class StatisticsGrant(Model):
    """Leave to release statistics.

    Args:
        trust: accepted trust models: `local`, each site noises its own numbers, which the server then sees; or
            `distributed`, only the noised total over all sites opens.
        max_cells: most numbers that one request may tell.
    """

    trust: Annotated[tuple[TrustKind, ...], Field(min_length=1)]
    max_cells: Count | None = None


class Allow(Model):
    """What is admitted; what is not listed is refused.

    Args:
        datasets: if given, a job must use one of them; else any that the site has configured.
        purposes: if given, a job must match one of them.
        workload_digests: digests of a workload's code, as `almoner policy workloads` prints them.
        initial_weights: digests of a workload's first weights; `almoner policy workloads` prints them.
        releases: kinds of releases besides the model; none for an empty list.
        windows: when jobs are admitted; a job that was admitted may run on after.
        psi: private set intersection; none if left out.
        statistics: requests for statistics; none if left out, so that a policy written before there were any
            admits none.
    """

    submitters: Annotated[tuple[SubmitterRule, ...], Field(min_length=1)]
    studies: tuple[Name, ...]
    workloads: tuple[Name, ...]
    datasets: tuple[Name, ...] | None = None
    purposes: Annotated[tuple[PurposeGrant, ...], Field(min_length=1)] | None = None
    workload_digests: Pins | None = None
    initial_weights: Pins | None = None
    releases: tuple[ReleaseKind, ...] | None = None
    windows: Annotated[tuple[Window, ...], Field(min_length=1)] | None = None
    psi: PsiGrant | None = None
    statistics: StatisticsGrant | None = None

    @model_validator(mode="after")
    def _pins_are_of_what_is_listed(self) -> "Allow":
        for field in ("workload_digests", "initial_weights"):
            if strays := sorted(set(getattr(self, field) or ()) - set(self.workloads)):
                raise ValueError(f"{field}: {strays[0]} is not in workloads")
        if strays := sorted({grant.study for grant in self.purposes or ()} - set(self.studies)):
            raise ValueError(f"purposes: {strays[0]} is not in studies")
        return self


class ManualApproval(Model):
    """Each job waits for the signature of the site's data officer.

    Args:
        roles: FLARE roles, at the site's own organisation, whose users may approve.
        max_days: for how long an approval may be valid.
    """

    roles: Annotated[tuple[Name, ...], Field(min_length=1)]
    max_days: Annotated[int, Field(ge=1, le=366)]


class Require(Model):
    """What a job must bring.

    Args:
        min_sites_per_sum: of how many sites, at the least, a group's sum must be, whoever drops out; as many as
            min_sites if left out, so that a policy that does not speak of groups admits none that show more.
        min_nominal_records: least declared size of the site's data set.
        min_colluding_sites: how many sites at the server's side the protection must withstand, at the least.
        min_byzantine_sites: how many sites a job must bear that may send anything, at the least.
        trust_models: accepted assumptions about the server; see `TrustModel`.
    """

    min_sites: Annotated[int, Field(ge=1, le=50)]
    protection: Annotated[tuple[ProtectionKind, ...], Field(min_length=1)]
    min_sites_per_sum: Annotated[int, Field(ge=1, le=50)] | None = None
    min_nominal_records: Count | None = None
    min_colluding_sites: Annotated[int, Field(ge=1, le=50)] | None = None
    min_byzantine_sites: ByzantineSites | None = None
    trust_models: Annotated[tuple[TrustModel, ...], Field(min_length=1)] | None = None
    manual_approval: ManualApproval | None = None

    @property
    def sites_per_sum(self) -> int:
        """Of how many sites, at the least, a group's sum must be."""
        return self.min_sites if self.min_sites_per_sum is None else self.min_sites_per_sum


def _check_psi(allow: Allow, require: Require) -> None:
    """Refuse a policy that lets records be compared without anybody's signature."""
    if allow.psi and not require.manual_approval:
        raise ValueError("allow.psi: it needs require.manual_approval, since no ε covers what it discloses")


class ConsortiumPolicy(Document):
    """`policies/consortium.yaml`, or one in `policies/<name>/`: the floor below which no site's policy may fall."""

    consortium: Name
    accounts: AccountFloor
    limits: Limits
    quotas: Quotas = Quotas()
    allow: Allow
    require: Require
    release_final_model: bool

    @model_validator(mode="after")
    def _psi_is_approved_by_hand(self) -> Self:
        _check_psi(self.allow, self.require)
        return self


class SitePolicy(Document):
    """`policies/<site>.yaml`, or one in `policies/<name>/`: what one site allows."""

    site: Name
    extends: Literal["consortium"]
    accounts: Annotated[tuple[Account, ...], Field(min_length=1, max_length=8)]
    limits: Limits
    quotas: Quotas = Quotas()
    allow: Allow
    require: Require
    release_final_model: bool

    @model_validator(mode="after")
    def _psi_is_approved_by_hand(self) -> Self:
        _check_psi(self.allow, self.require)
        return self

    @field_validator("accounts")
    @classmethod
    def _are_of_different_populations(cls, accounts: tuple[Account, ...]) -> tuple[Account, ...]:
        if len({account.population for account in accounts}) != len(accounts):
            raise ValueError("a population has two accounts; it may have one")
        if len({account.privacy_unit for account in accounts}) != 1:
            raise ValueError("they protect different units; a join of ids can show nothing about them")
        return accounts

    def account_of(self, population: str | None) -> Account:
        """Return the account of a population; the first one for None, a data set that is not configured.

        Raises:
            DocumentError: the population has no account.
        """
        for account in self.accounts:
            if population in (account.population, None):
                return account
        known = ", ".join(account.population for account in self.accounts)
        raise DocumentError(f"{self.site}: population {population} has no account → it has {known}")
