"""A hand-made site with a real ledger, a small workload, and a job of two rounds with plain aggregation."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from torch import Tensor

from almoner.admission.grid import job_grid
from almoner.flare.door.render import render_app
from almoner.flare.evidence.head_exchange import HeadExchange
from almoner.flare.evidence.head_statements import read_log_introduction
from almoner.flare.evidence.held_heads import ServerHeads
from almoner.flare.evidence.live_log import LiveLog
from almoner.flare.evidence.log_cosigning import JobLog
from almoner.flare.job.job_context import JobContext
from almoner.flare.job.protections import site_protection
from almoner.flare.job.wire import TaskHeader, TaskKind
from almoner.flare.results.job_result import JobResult
from almoner.flare.site.site_files import LEDGER, SiteFiles
from almoner.flare.site.tree import tree_digest
from almoner.flare.training.context import TrainingContext
from almoner.flare.training.job import TrainingJob
from almoner.privacy.heads import EMPTY_SLOT, unpack_heads
from almoner.privacy.ledger import Ledger, Reservation
from almoner.privacy.plans import plan_of
from almoner.protection.plain import combine
from almoner.schema.aggregation import HeAggregation, PlainAggregation, SecaggAggregation
from almoner.schema.base import digest
from almoner.schema.consortium import Roster
from almoner.schema.declarations import Declarations, load_declarations
from almoner.schema.envelope import JobEnvelope
from almoner.schema.job import (
    AccuracyRelease,
    DistributedDpPrivacy,
    DpSgdPrivacy,
    JobSpec,
    NoPrivacy,
    TrainingPrivacy,
    TrainingSpec,
)
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.base import Workload

DECLARATIONS: Declarations = load_declarations(Path(__file__).resolve().parents[3])
SITES = DECLARATIONS.consortium.sites
DIMENSION = 3
PAIR = ("cleveland", "hungary")
JOB_ID = str(uuid.UUID(int=7))

SPEC = JobSpec(
    schema_version=1,
    kind="training",
    name="small",
    study="cardiology",
    purpose="a test",
    workload="small",
    dataset="cardiology",
    rounds=2,
    min_sites=2,
    training=TrainingSpec(local_steps=1, learning_rate=1.0),
    privacy=DpSgdPrivacy(
        unit="patient",
        neighboring_relation="add_or_remove_one",
        mechanism="dp_sgd",
        target_epsilon=1.0,
        target_delta=1e-4,
        max_grad_norm=1.0,
        sampling_prob=0.5,
    ),
    aggregation=PlainAggregation(kind="plain"),
    releases=(AccuracyRelease(kind="accuracy", epsilon=0.1),),
)
RELEASE_ONLY = SPEC.model_copy(update={"rounds": 0})
TRAIN_ONLY = SPEC.model_copy(update={"releases": ()})
ENCRYPTED = SPEC.model_copy(update={"aggregation": HeAggregation(kind="he", num_colluding_sites=1)})
MASKED = SPEC.model_copy(update={"aggregation": SecaggAggregation(kind="secagg", num_colluding_sites=1)})

SHARED = MASKED.model_copy(
    update={"privacy": DistributedDpPrivacy(**SPEC.privacy.model_dump() | {"mechanism": "distributed_dp"})}
)
_BARE = {name: getattr(SPEC.privacy, name) for name in TrainingPrivacy.model_fields}
UNPROTECTED = MASKED.model_copy(update={"privacy": NoPrivacy(mechanism="none", **_BARE), "releases": ()})


def envelope(spec: JobSpec = SPEC, **changes: Any) -> JobEnvelope:
    fields: dict[str, Any] = {
        "schema_version": 1,
        "spec": spec,
        "sites": SITES,
        "nonce": "0123456789abcdef" * 2,
        "issued_unix_seconds": 1_899_900_000,
        "expires_unix_seconds": 1_900_000_000,
        "almoner_version": "0.1.0",
        "workload_package": "",
    }
    return JobEnvelope(**{**fields, **changes})


class SmallWorkload(Workload):
    """Logistic regression on two features; tells a callback before it loads anything."""

    name = "small"

    def __init__(self, before_load: Callable[[], None] = lambda: None, offset: float = 0.0) -> None:
        self.before_load, self.offset = before_load, offset

    def build_model(self) -> torch.nn.Module:
        linear = torch.nn.Linear(2, 1)
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
        return torch.nn.Sequential(linear, torch.nn.Flatten(0))

    def load(self, path: Path) -> UnitData:
        self.before_load()
        features = torch.arange(40, dtype=torch.float32).reshape(20, 2) / 20 - 1 + self.offset
        targets = (features.sum(1) > 0).to(torch.float32)
        return UnitData(
            train=UnitRecords(features[:14], targets[:14], np.arange(14)),
            test=UnitRecords(features[14:], targets[14:], np.arange(6)),
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        return (outputs > 0).to(outputs.dtype)


@dataclass(frozen=True)
class Pki:
    """Keys and certificates of one consortium."""

    folder: Path
    root: Path
    roster: Roster

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def certificate(self, name: str) -> Path:
        return self.folder / f"{name}.crt"


def write_roots(kit: Path, pki: Pki) -> None:
    """Write what a site's kit says of the consortium's root and of its server."""
    (kit / "startup" / "rootCA.pem").write_bytes(pki.root.read_bytes())
    (kit / "startup" / "fed_client.json").write_text(json.dumps({"servers": [{"identity": "localhost"}]}))


def make_server(folder: Path, pki: Pki) -> Path:
    """Return a server's folder with a kit, made if there is none."""
    startup = folder / "kit" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "rootCA.pem").write_bytes(pki.root.read_bytes())
    (startup / "server.crt").write_bytes(pki.certificate("server").read_bytes())
    (startup / "server.key").write_bytes(pki.key("server").read_bytes())
    return folder


def server_heads(folder: Path, pki: Pki, job_id: str = JOB_ID) -> ServerHeads:
    """Return what a server holds, with its log; both are in the folder."""
    return ServerHeads(folder / "heads.json", pki.roster, LiveLog(make_server(folder, pki), job_id))


def make_context(
    folder: Path, pki: Pki, spec: JobSpec = SPEC, site: str = "cleveland", job_id: str = JOB_ID, **policy: Any
) -> JobContext:
    """Return a site's context of an admitted, started job, with a ledger of its own in the folder."""
    kit = folder / "kit"
    (kit / "startup").mkdir(parents=True)
    (kit / "startup" / "client.key").write_bytes(pki.key(site).read_bytes())
    write_roots(kit, pki)
    (folder / "peer" / "kit" / "startup").mkdir(parents=True)
    (folder / "peer" / "kit" / "startup" / "client.key").write_bytes(pki.key(PAIR[1]).read_bytes())
    write_roots(folder / "peer" / "kit", pki)
    make_server(folder / "server", pki)
    made = envelope(spec)
    plan = plan_of(spec, len(made.sites))
    files = SiteFiles(
        kit=kit,
        folder=folder,
        policy=DECLARATIONS.policies[site].model_copy(update=policy),
        config=DECLARATIONS.sites[site],
        roster=pki.roster,
    )
    sizes = DECLARATIONS.nominal_records("cardiology", SITES)
    grid = job_grid(spec, plan.noise_multiplier, sizes.values(), DIMENSION)
    context = TrainingContext(
        job_id=job_id,
        site=files,
        envelope=made,
        envelope_digest=digest(made),
        plan=plan,
        workload=SmallWorkload(),
        nominal_records=sizes,
        grid=grid,
        protection=site_protection(files, made, job_id, DIMENSION, grid),
    )
    (folder / LEDGER).parent.mkdir(mode=0o700)
    with Ledger.create(folder / LEDGER, site) as ledger:
        ledger.open_account(files.policy.accounts[0])
        ledger.reserve(reservation(context))
        ledger.start(context.job_id, tree_digest(render_app(made)))
    return context


def reservation(context: JobContext) -> Reservation:
    spec = context.envelope.spec
    return Reservation(
        job_id=context.job_id,
        nonce=context.envelope.nonce,
        envelope_digest=context.envelope_digest,
        tree_digest=tree_digest(render_app(context.envelope)),
        population=context.dataset.population,
        privacy_unit=spec.privacy.unit,
        neighboring_relation=spec.privacy.neighboring_relation,
        steps=context.plan.steps,
    )


def committed_steps(context: JobContext) -> list[str]:
    """Return the steps that the context's ledger has committed, in order."""
    with context.site.ledger() as ledger:
        return [step.key for step in context.plan.steps if ledger.committed(context.job_id, step.key)]


def head(context: JobContext) -> tuple[int, str]:
    """Return the head of the context's ledger: it moves with every entry."""
    with context.site.ledger() as ledger:
        return ledger.head()


def watch_loading(context: JobContext, before_load: Callable[[], None]) -> JobContext:
    return replace(context, workload=SmallWorkload(before_load))


def fl_context(job_id: str) -> FLContext:
    context = FLContext()
    context.set_prop(ReservedKey.RUN_NUM, job_id, private=True, sticky=False)
    return context


def header(
    kind: TaskKind,
    number: int = 0,
    contributors: tuple[str, ...] = (),
    consents: dict[str, str] | None = None,
    ring: tuple[str, ...] = (),
) -> TaskHeader:
    return TaskHeader(kind=kind, round=number, contributors=contributors, ring=ring, consents=consents or {})


def peer_of(context: JobContext) -> JobContext:
    """Return the same job's context at the second site of the pair, with a ledger of its own."""
    folder = context.site.folder / "peer"
    files = replace(
        context.site,
        kit=folder / "kit",
        folder=folder,
        policy=DECLARATIONS.policies[PAIR[1]],
        config=DECLARATIONS.sites[PAIR[1]],
    )
    if not (folder / LEDGER).exists():
        (folder / LEDGER).parent.mkdir(mode=0o700)
        Ledger.create(folder / LEDGER, PAIR[1]).close()
    return replace(context, site=files)


def shown(log: JobLog, introductions: dict[str, bytes]) -> bytes:
    """Return what a server shows of its log at set-up."""
    return log.open({site: read_log_introduction(data) for site, data in introductions.items()})


def total_of(*updates: np.ndarray[Any, Any]) -> bytes:
    """Return what the server makes of sites' updates in clear."""
    return combine(updates, DIMENSION)


class Driver:
    """One site's job, with the server's part done for it: a second site that always sends ones."""

    def __init__(self, context: JobContext) -> None:
        self.context, self.job = context, TrainingJob(context)
        self.peer = HeadExchange(peer_of(context))
        self.log = JobLog(LiveLog(context.site.folder / "server", context.job_id), context.site.roster)
        self.introductions = self.heads = b""
        self.update: Any = None
        self.consents: dict[str, str] = {}

    def total(self) -> bytes:
        return total_of(self.update, np.ones(DIMENSION, np.int64))

    def introduce(self) -> Any:
        sealed = self.job.answer(header("setup"), b"")
        said = dict(zip(PAIR, (sealed.body, self.peer.introduce()), strict=True))
        self.introductions = b"".join(said.values()) + shown(self.log, said) + EMPTY_SLOT * len(SITES)
        return sealed

    def prove(self) -> Any:
        sealed = self.job.answer(header("heads", 0, PAIR), self.introductions)
        self.heads = sealed.body + self.peer.prove(PAIR, self.introductions)
        return sealed

    def cosign(self) -> Any:
        self.peer.cosign(PAIR, self.heads)
        return self.job.answer(header("cosign", 0, PAIR), self.heads)

    def set_up(self) -> None:
        self.introduce()
        self.prove()
        self.cosign()

    def train(self, number: int) -> Any:
        due = self.update is not None
        task = header("train", number, PAIR if due else ())
        sealed = self.job.answer(task, self.total() if due else b"")
        self.update = sealed.body
        return sealed

    def release(self, due: bool = True) -> Any:
        rounds = self.context.envelope.spec.rounds
        task = header("release", rounds + 1, PAIR if due and rounds else ())
        return self.job.answer(task, self.total() if due and rounds else b"")

    def model(self, due: bool = False) -> Any:
        rounds = self.context.envelope.spec.rounds
        task = header("model", rounds + 1, PAIR if due else (), self.consents)
        return self.job.answer(task, self.total() if due else b"")

    def cosign_log(self) -> Any:
        heads = {site: head.to_json() for site, head in unpack_heads(PAIR, self.heads).items()} if self.heads else {}
        self.log.close(JobResult(job="small", heads=heads), PAIR)
        return self.job.answer(header("log"), self.log.ask(PAIR))
