"""What a rule of admission is: a name, a line about it, the field of the policy behind it, and a pure check."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Literal

from almoner.admission.cost import JobCost
from almoner.admission.request import JobRequest, SiteView
from almoner.schema.envelope import AnyJobSpec
from almoner.schema.job import JobSpec
from almoner.schema.policy import Account


@dataclass(frozen=True)
class Question:
    """All that a rule may look at: the request, the site, and the job's cost there. No data is in it."""

    request: JobRequest
    site: SiteView
    cost: JobCost

    @property
    def spec(self) -> AnyJobSpec:
        """The job."""
        return self.request.envelope.spec

    @property
    def account(self) -> Account:
        """The account of the job's data set, as the policy has it."""
        return self.site.policy.account_of(self.site.account.population)


@dataclass(frozen=True)
class Verdict:
    """What a rule says.

    Args:
        status: "unset" where the policy has no such restriction.
        finding: what was found, with figures; depends on declared parameters and the ledger alone.
        remedy: what the submitter can do about a broken rule, or "" where nothing helps.
    """

    status: Literal["holds", "broken", "unset"]
    finding: str
    remedy: str = ""


UNSET = Verdict("unset", "not restricted")
NO_TRAINING = Verdict("unset", "not a training job")


def holds(finding: str) -> Verdict:
    """Return the verdict of a rule that is kept."""
    return Verdict("holds", finding)


def broken(finding: str, remedy: str = "") -> Verdict:
    """Return the verdict of a rule that is broken."""
    return Verdict("broken", finding, remedy)


@dataclass(frozen=True)
class Rule:
    """One rule.

    Args:
        name: dotted, as refusals show it.
        field: dotted path of the field in a site's policy, or "" for a rule that no policy can change.
        about: one line for people.
        check: depends on the question alone, and never raises.
    """

    name: str
    field: str
    about: str
    check: Callable[[Question], Verdict]


def of_training(check: Callable[[Question, JobSpec], Verdict]) -> Callable[[Question], Verdict]:
    """Return the check of a rule that makes sense for training jobs alone; for others it is unset."""

    @wraps(check)
    def checked(asked: Question) -> Verdict:
        return check(asked, asked.spec) if isinstance(asked.spec, JobSpec) else NO_TRAINING

    return checked


def listed(values: Iterable[str]) -> str:
    """Return names the way refusals print a list."""
    return "[" + ", ".join(values) + "]"
