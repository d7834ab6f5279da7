"""Four hand-made sites with real ledgers and data, and a small request for statistics under either trust model."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flare_cases import DECLARATIONS, SITES, Pki, envelope, server_heads, write_roots

from almoner.errors import AlmonerError
from almoner.flare.components.filters import check_budget, let_out, put_on_protection
from almoner.flare.door.render import render_app
from almoner.flare.job.answers import IsGood
from almoner.flare.job.sealed import Sealed
from almoner.flare.job.wire import REFUSAL, Reply, TaskHeader, attached_bytes
from almoner.flare.site.dataset_commitments import commit_site_data
from almoner.flare.site.site_files import LEDGER, SiteFiles
from almoner.flare.site.tree import tree_digest
from almoner.flare.statistics.context import StatisticsContext, load_statistics
from almoner.flare.statistics.job import StatisticsJob
from almoner.flare.statistics.run import StatisticsRun
from almoner.privacy.ledger import Ledger, Reservation
from almoner.privacy.plan import JobPlan
from almoner.privacy.plans import plan_of
from almoner.schema.base import digest
from almoner.schema.envelope import JobEnvelope
from almoner.schema.statistics import StatisticsSpec

REQUEST: dict[str, Any] = {
    "schema_version": 1,
    "kind": "statistics",
    "name": "small",
    "study": "cardiology",
    "purpose": "a test",
    "dataset": "cardiology",
    "min_sites": 3,
    "privacy": {
        "unit": "patient",
        "neighboring_relation": "add_or_remove_one",
        "mechanism": "discrete_gaussian",
        "target_epsilon": 1.0,
        "target_delta": 1e-4,
    },
    "trust": {"kind": "local"},
    "confidence": 0.95,
    "min_count": 10,
    "columns": {
        "age": {"kind": "integer", "low": 20, "high": 80},
        "sex": {"kind": "category", "values": ["Female", "Male"]},
    },
    "queries": [
        {"name": "patients", "kind": "count", "share": 0.4},
        {"name": "age", "kind": "mean", "share": 0.4, "column": "age"},
        {"name": "sex", "kind": "histogram", "share": 0.2, "column": "sex"},
    ],
}


def request(**changes: Any) -> StatisticsSpec:
    """Return the small request with changed fields."""
    return StatisticsSpec.model_validate_json(json.dumps(REQUEST | changes))


LOCAL = request()
DISTRIBUTED = request(trust={"kind": "distributed", "num_colluding_sites": 1})
SPECS = {"local": LOCAL, "distributed": DISTRIBUTED}
SIZES = dict(zip(SITES, (300, 260, 45, 130), strict=True))


def write_data(path: Path, num_patients: int) -> None:
    """Write a site's file: ages around 50, one patient in four a woman."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (f"{k},train,{40 + k % 21},{'Female' if k % 4 == 0 else 'Male'}" for k in range(num_patients))
    path.write_text("record_id,split,age,sex\n" + "\n".join(rows) + "\n")


def make_site(folder: Path, pki: Pki, site: str) -> SiteFiles:
    """Return a site with kit, data, commitments and an open account."""
    kit = folder / "kit"
    (kit / "startup").mkdir(parents=True)
    (kit / "startup" / "client.key").write_bytes(pki.key(site).read_bytes())
    write_roots(kit, pki)
    files = SiteFiles(kit, folder, DECLARATIONS.policies[site], DECLARATIONS.sites[site], pki.roster)
    write_data(folder / files.config.datasets["cardiology"].path, SIZES[site])
    (folder / LEDGER).parent.mkdir(mode=0o700)
    with Ledger.create(folder / LEDGER, site) as ledger:
        ledger.open_account(files.policy.accounts[0])
    commit_site_data(files)
    return files


def admitted(files: SiteFiles, made: JobEnvelope, plan: JobPlan | None = None) -> StatisticsContext:
    """Reserve and start a request at a site, as its door does; return the job process's context."""
    job_id, spec = str(uuid.UUID(made.nonce)), made.statistics
    plan = plan_of(spec, len(made.sites)) if plan is None else plan
    with files.ledger() as ledger:
        reservation = Reservation(
            job_id=job_id,
            nonce=made.nonce,
            envelope_digest=digest(made),
            tree_digest=tree_digest(render_app(made)),
            population=files.config.datasets["cardiology"].population,
            privacy_unit=spec.privacy_unit,
            neighboring_relation=spec.neighboring_relation,
            steps=plan.steps,
        )
        ledger.reserve(reservation)
        ledger.start(job_id, reservation.tree_digest)
        reserved = JobPlan.of_steps(ledger.reserved_steps(job_id))
    return load_statistics(job_id, files, made, reserved)


@dataclass
class Hospitals:
    """The sites of one request, between the server's driver and real jobs, filters and ledgers.

    Args:
        lost: says whether a site's answer to a task is lost on its way.
        deaf: says whether a site does not even hear a task.
        sent: each site's values before their protection.
        replies: every reply that left, by task and site.
    """

    contexts: dict[str, StatisticsContext]
    lost: Callable[[str, TaskHeader], bool] = lambda site, header: False
    deaf: Callable[[str, TaskHeader], bool] = lambda site, header: False
    repeat: bool = False
    sent: dict[str, Any] = field(default_factory=dict)
    replies: dict[tuple[str, str], Reply] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.jobs = {site: StatisticsJob(context) for site, context in self.contexts.items()}

    def ask(
        self, header: TaskHeader, body: bytes, sites: tuple[str, ...], need: int, enough: int, is_good: IsGood
    ) -> dict[str, Reply]:
        heard = [site for site in sites if not self.deaf(site, header)]
        replies = {site: self.reply(site, header, body) for site in heard}
        if self.repeat and header.kind in ("statistics", "train"):
            again = {site: self.reply(site, header, body) for site in heard}
            signed = sum(attached_bytes(next(iter(again.values())).kind))  # anew each time
            assert {site: reply.body[:-signed] for site, reply in again.items()} == {
                site: reply.body[:-signed] for site, reply in replies.items()
            }
        return {site: reply for site, reply in replies.items() if not self.lost(site, header)}

    def reply(self, site: str, header: TaskHeader, body: bytes) -> Reply:
        try:
            sealed: Sealed = self.jobs[site].answer(header, body)
            if isinstance(sealed.body, np.ndarray):
                self.sent[site] = sealed.body
            for step in (check_budget, put_on_protection, let_out):
                sealed = step(sealed, self.contexts[site])
        except AlmonerError as error:
            self.errors.append(f"{site}: {error}")
            return REFUSAL
        assert isinstance(sealed.body, bytes)
        self.replies[header.kind, site] = Reply(kind=sealed.kind, round=sealed.round, body=sealed.body)
        return self.replies[header.kind, site]


def hospitals(folder: Path, pki: Pki, spec: StatisticsSpec, **hooks: Any) -> tuple[StatisticsRun, Hospitals]:
    """Return the server's driver of a request, and its sites, each with a ledger of its own below the folder."""
    made = envelope(spec)
    members = Hospitals({site: admitted(make_site(folder / site, pki, site), made) for site in SITES}, **hooks)
    job_id = next(iter(members.contexts.values())).job_id
    heads = server_heads(folder / "server", pki, job_id)
    return StatisticsRun(made, job_id, members.ask, lambda progress: None, heads), members
