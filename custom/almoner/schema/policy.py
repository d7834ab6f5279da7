"""What a consortium and its sites allow. A site's policy can only tighten the consortium's floor.

Fields without a default must be written. The others may be left out, which means "no such restriction"; a
floor that has one demands it of every site. No privacy parameter has a default.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from almoner.errors import DocumentError
from almoner.schema.aggregation import ByzantineSites
from almoner.schema.base import (
    Count,
    Delta,
    Document,
    Epsilon,
    Model,
    Name,
    NeighboringRelation,
    Probability,
    ProtectionKind,
    TrustModel,
)
from almoner.schema.policy_allow import Allow
from almoner.schema.revocation import Revocations, united

Share = Annotated[float, Field(gt=0, le=1)]
"""A share of an account's Rényi budget. Charges add up; the ε of jobs do not."""


DEFAULT_VALIDITY_DAYS = 7
"""How long an exported job may be good for where a policy does not say."""


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
        max_validity_days: for how long an exported job may be good, from the time it was exported; a week if left out,
            so that a policy written before there was this bound has one.
    """

    epsilon_per_job: Epsilon
    min_noise_multiplier: Annotated[float, Field(gt=0, le=1000)]
    max_sampling_prob: Probability
    max_rounds: Annotated[int, Field(ge=1, le=10_000)]
    max_steps: Count | None = None
    max_validity_days: Annotated[int, Field(ge=1, le=366)] | None = None

    @property
    def validity_days(self) -> int:
        """For how long an exported job may be good."""
        return DEFAULT_VALIDITY_DAYS if self.max_validity_days is None else self.max_validity_days


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
    revoked: Revocations = ()

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
    revoked: Revocations = ()

    def under(self, floor: ConsortiumPolicy) -> "SitePolicy":
        """Return the policy with what its floor revokes besides."""
        return self.model_copy(update={"revoked": united(self.revoked, floor.revoked)})

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
