"""A site's answer to a job: admitted, or refused with every rule that it breaks."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from almoner.schema.base import Digest, Model, Name, PlainText, canonical_json


def decision_statement(recorded: Mapping[str, Any]) -> bytes:
    """Return what a site signs about a decision in its ledger: all that the entry says but the signature."""
    said = {key: value for key, value in recorded.items() if key != "signature"}
    return canonical_json({"almoner": "decision-v1", "decision": said})


def show_epsilon(value: float) -> str:
    """Return an ε as refusals and plans print it: two decimals, or what it takes to see a small one."""
    return f"{value:.2f}" if value == 0 or value >= 0.01 else f"{value:.2g}"


_RULE_WIDTH = 18
"""Columns for the names of rules, if none is longer."""


class Violation(Model):
    """One broken rule.

    Args:
        rule: dotted name of the rule, such as `budget.remaining`.
        finding: what was found, with figures.
        remedy: what the submitter can do, or "" where nothing helps.
    """

    rule: str
    finding: str
    remedy: str

    def render(self, width: int = 0) -> str:
        """Return the one line that submitters read, with the finding after `width` characters for the rule."""
        return f"{self.rule:<{width}} {self.finding}" + (f" → {self.remedy}" if self.remedy else "")


class Decision(Model):
    """What one site says to one job, and what the job would cost there.

    Args:
        study, submitter, purpose: as the job and its signer's certificate say; "" where the job was not read.
        envelope_digest: of the one submission.
        job_digest: of spec and sites, the same for each submission; what a data officer approves.
        approval_digest: of the signed approval that the decision rests on; "" if it rests on none.
    """

    site: Name
    job_name: str
    study: Name | Literal[""]
    submitter: str
    purpose: PlainText | Literal[""]
    verdict: Literal["admitted", "refused"]
    envelope_digest: Digest | Literal[""]
    job_digest: Digest | Literal[""]
    policy_digest: Digest
    approval_digest: Digest | Literal[""]
    asks: str
    noise_multiplier: Annotated[float, Field(ge=0)]
    charge: Annotated[float, Field(ge=0)]
    epsilon_spent: Annotated[float, Field(ge=0)]
    epsilon_after: Annotated[float, Field(ge=0)]
    epsilon_cap: Annotated[float, Field(ge=0)]
    violations: tuple[Violation, ...]

    def render(self) -> str:
        """Return the text that the admin console, the CLI and the log show, the same in all three."""
        if self.verdict == "admitted":
            return (
                f"admitted by {self.site}: job {self.job_name} asks {self.asks}; "
                f"account ε={show_epsilon(self.epsilon_spent)} → {show_epsilon(self.epsilon_after)} "
                f"of {show_epsilon(self.epsilon_cap)}"
            )
        asks = f" asks {self.asks}" if self.asks else ""
        lines = [f"refused by {self.site}: job {self.job_name}{asks}"]
        width = max([_RULE_WIDTH, *(len(violation.rule) for violation in self.violations)])
        return "\n".join(lines + ["  " + violation.render(width) for violation in self.violations])
