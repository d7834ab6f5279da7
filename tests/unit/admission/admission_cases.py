"""One good job at one good site, and the ways in which each of them is made bad."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from almoner.admission.decide import decide
from almoner.admission.history import History, PastJob
from almoner.admission.request import ApprovalState, JobRequest, SiteView, Submitter, WorkloadFacts
from almoner.privacy.budget import open_filter
from almoner.privacy.ledger import AccountState
from almoner.privacy.plan import JobPlan
from almoner.privacy.plans import plan_of
from almoner.schema.decision import Decision
from almoner.schema.declarations import load_declarations
from almoner.schema.documents import load_document
from almoner.schema.envelope import AnyJobSpec, JobEnvelope
from almoner.schema.job import JobSpec, TrainingPrivacy
from almoner.schema.policy import SitePolicy
from almoner.schema.site import SiteConfig
from almoner.schema.statistics import StatisticsSpec

ROOT = Path(__file__).resolve().parents[3]
DECLARATIONS = load_declarations(ROOT)
SITE = "switzerland"
SIZES = DECLARATIONS.nominal_records("cardiology", DECLARATIONS.consortium.sites)
SPEC = load_document(ROOT / "jobs" / "heart_disease.yaml", JobSpec)
REQUEST = load_document(ROOT / "jobs" / "hospital_statistics.yaml", StatisticsSpec)
LEAD = Submitter(name="lead@cleveland.example", org="cleveland", role="lead")
NOW = 1_800_000_000.0
"""Friday, 15 January 2027, 08:00 UTC."""
WORKLOAD = WorkloadFacts(digest="a" * 64, initial_weights="b" * 64, dimension=17, units=("patient",))
GROUPED = {"kind": "secagg", "num_colluding_sites": 1, "groups": 3, "rule": "median", "num_byzantine_sites": 1,
           "l2_clip_norm": 1.0}  # fmt: skip
"""Secure aggregation in groups, for nine sites or more."""


def spec(**changes: Any) -> JobSpec:
    """Return the main job with changed fields, all of them validated; sub-models take part of their fields."""
    fields = SPEC.model_dump(mode="json")
    for name, value in changes.items():
        whole = name == "aggregation" or (name == "privacy" and value.get("mechanism") == "none")
        fields[name] = fields[name] | value if isinstance(fields[name], dict) and not whole else value
    return JobSpec.model_validate_json(json.dumps(fields))


DISTRIBUTED = spec(privacy={"mechanism": "distributed_dp"}, aggregation={"kind": "secagg", "num_colluding_sites": 1})
UNPROTECTED = spec(
    privacy={"mechanism": "none"} | {name: getattr(SPEC.privacy, name) for name in TrainingPrivacy.model_fields},
    releases=[],
)


def request(**changes: Any) -> StatisticsSpec:
    """Return the hospitals' request for statistics with changed fields, as `spec` does."""
    fields = REQUEST.model_dump(mode="json")
    for name, value in changes.items():
        fields[name] = fields[name] | value if isinstance(fields[name], dict) and name != "trust" else value
    return StatisticsSpec.model_validate_json(json.dumps(fields))


def past(days_ago: float, share: float = 0.1, **changes: Any) -> PastJob:
    """Return a job of the lead and the study, reserved and ended so many days ago, with so much of the budget."""
    when = NOW - days_ago * 86_400
    fields: dict[str, Any] = {
        "job_id": f"job-{days_ago}",
        "population": f"{SITE}-cardiology",
        "reserved_unix_seconds": when,
        "charge": share * account().filter.budget,
        "planned": 21,
        "study": "cardiology",
        "submitter": LEAD.name,
        "committed": 21,
        "released": changes.get("committed", 21),
        "started": True,
        "ended_unix_seconds": when + 60,
    }
    return PastJob(**(fields | changes))


def policy(**changes: Any) -> SitePolicy:
    """Return the site's policy with changed fields, as `spec` does."""
    fields = DECLARATIONS.policies[SITE].model_dump(mode="json")
    for name, value in changes.items():
        fields[name] = (fields[name] or {}) | value if isinstance(value, dict) else value
    return SitePolicy.model_validate_json(json.dumps(fields))


def account(spent: float = 0.0, cap: float = 3.0, delta: float = 1e-4) -> AccountState:
    """Return the site's account with so much spent, in RDP at its order."""
    book = open_filter(cap, delta)
    return AccountState(f"{SITE}-cardiology", "patient", "add_or_remove_one", book, spent, spent)


def account_at_epsilon(epsilon: float) -> AccountState:
    """Return the site's account with so much spent, in ε."""
    book = account().filter
    loss = book.epsilon_of(1.0) - 1.0
    return account(epsilon - loss)


@dataclass(frozen=True)
class Case:
    """All arguments of a decision; the defaults are admitted."""

    spec: AnyJobSpec = SPEC
    submitter: Submitter = LEAD
    flare_study: str = "cardiology"
    sites: tuple[str, ...] = DECLARATIONS.consortium.sites
    issued: int = int(NOW)
    expires: int = int(NOW)
    exported_by: str = "0.1.0"
    package: str = ""
    policy: SitePolicy = DECLARATIONS.policies[SITE]
    account: AccountState = field(default_factory=account)
    nonce_seen: bool = False
    workloads: dict[str, WorkloadFacts] = field(default_factory=lambda: {"heart_disease": WORKLOAD})
    nominal_records: dict[str, int] = field(default_factory=lambda: dict(SIZES))
    jobs: tuple[PastJob, ...] = ()
    approval: ApprovalState | None = None
    now: float = NOW
    keys_at_site: bool = False
    study_sites: tuple[str, ...] = DECLARATIONS.consortium.sites
    stored_groups: dict[str, int] = field(default_factory=dict)
    public: bool = True
    max_records_per_unit: int | None = None

    def request(self) -> JobRequest:
        envelope = JobEnvelope(
            schema_version=1,
            spec=self.spec,
            sites=self.sites,
            nonce="0" * 32,
            issued_unix_seconds=self.issued,
            expires_unix_seconds=self.expires,
            almoner_version=self.exported_by,
            workload_package=self.package,
        )
        return JobRequest(envelope, self.submitter, self.flare_study)

    def site(self) -> SiteView:
        return SiteView(
            policy=self.policy,
            config=self.config(),
            account=self.account,
            nonce_seen=self.nonce_seen,
            now_unix_seconds=self.now,
            workloads=self.workloads,
            version="0.1.0",
            nominal_records=self.nominal_records,
            history=History(self.jobs),
            approval=self.approval,
            keys_at_site=self.keys_at_site,
            study_sites=self.study_sites,
            stored_groups=self.stored_groups,
        )

    def config(self) -> SiteConfig:
        """Return the site's configuration, its data sets public or not."""
        config = DECLARATIONS.sites[SITE]
        update = {"public": self.public, "max_records_per_unit": self.max_records_per_unit}
        changed = {name: found.model_copy(update=update) for name, found in config.datasets.items()}
        return config.model_copy(update={"datasets": changed})

    def plan(self) -> JobPlan:
        return plan_of(self.spec, len(self.sites))

    def decide(self) -> Decision:
        return decide(self.request(), self.site(), self.plan())

    def rules(self) -> tuple[str, ...]:
        return tuple(violation.rule for violation in self.decide().violations)

    def but(self, **changes: Any) -> "Case":
        return replace(self, **changes)
