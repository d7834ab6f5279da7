"""What a consortium and its sites allow. A site's policy can only tighten the consortium's floor."""

from typing import Annotated, Literal

from pydantic import Field

from almoner.schema.base import Delta, Document, Epsilon, Model, Name, NeighboringRelation, Probability, ProtectionKind


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
    """Bounds on one job."""

    epsilon_per_job: Epsilon
    min_noise_multiplier: Annotated[float, Field(gt=0, le=1000)]
    max_sampling_prob: Probability
    max_rounds: Annotated[int, Field(ge=1, le=10_000)]


class SubmitterRule(Model):
    """Who may submit: users with this FLARE role from one of these organisations."""

    role: Name
    orgs: Annotated[tuple[Name, ...], Field(min_length=1)]


class Allow(Model):
    """What is admitted; what is not listed is refused."""

    submitters: Annotated[tuple[SubmitterRule, ...], Field(min_length=1)]
    studies: tuple[Name, ...]
    workloads: tuple[Name, ...]


class Require(Model):
    """What a job must bring."""

    min_sites: Annotated[int, Field(ge=1, le=50)]
    protection: Annotated[tuple[ProtectionKind, ...], Field(min_length=1)]


class ConsortiumPolicy(Document):
    """`policies/consortium.yaml`: the floor below which no site's policy may fall."""

    consortium: Name
    accounts: AccountFloor
    limits: Limits
    allow: Allow
    require: Require
    release_final_model: bool


class SitePolicy(Document):
    """`policies/<site>.yaml`: what one site allows."""

    site: Name
    extends: Literal["consortium"]
    accounts: Annotated[tuple[Account, ...], Field(min_length=1, max_length=1)]
    limits: Limits
    allow: Allow
    require: Require
    release_final_model: bool

    @property
    def account(self) -> Account:
        """The site's one account (several need the disjointness check that this release does not have)."""
        return self.accounts[0]
