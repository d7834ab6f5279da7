"""What a policy admits: who, for which studies and purposes, with which code, when. What is not listed is refused."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from almoner.schema.base import Count, Digest, Model, Name, PlainText, UserName
from almoner.schema.job import Mechanism, ReleaseKind
from almoner.schema.psi import MAX_IDENTIFIERS
from almoner.schema.statistics import TrustKind

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DEFAULT_MECHANISMS: tuple[Mechanism, ...] = ("dp_sgd", "none")
"""What a policy admits that does not say: noise of the site's own; none at all on public data."""
Pins = dict[Name, Annotated[tuple[Digest, ...], Field(min_length=1)]]
"""Workload → the digests of it that are accepted."""


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
        workload_digests: digests of a workload's code, as `almoner workload list` prints them. A workload of another
            package is refused without one.
        initial_weights: digests of a workload's first weights; `almoner workload list` prints them.
        releases: kinds of releases besides the model; none for an empty list.
        mechanisms: how training may be made private; `DEFAULT_MECHANISMS` if left out, so that a policy written before
            there was distributed noise admits none.
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
    mechanisms: Annotated[tuple[Mechanism, ...], Field(min_length=1)] | None = None
    windows: Annotated[tuple[Window, ...], Field(min_length=1)] | None = None
    psi: PsiGrant | None = None
    statistics: StatisticsGrant | None = None

    @property
    def admitted_mechanisms(self) -> tuple[Mechanism, ...]:
        """How training may be made private; `none` needs public data besides, whatever the policy says."""
        return DEFAULT_MECHANISMS if self.mechanisms is None else self.mechanisms

    @model_validator(mode="after")
    def _pins_are_of_what_is_listed(self) -> "Allow":
        for field in ("workload_digests", "initial_weights"):
            if strays := sorted(set(getattr(self, field) or ()) - set(self.workloads)):
                raise ValueError(f"{field}: {strays[0]} is not in workloads")
        if strays := sorted({grant.study for grant in self.purposes or ()} - set(self.studies)):
            raise ValueError(f"purposes: {strays[0]} is not in studies")
        return self
