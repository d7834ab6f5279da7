"""Every training job in jobs/ on public data, in small: as shipped but for steps, samples and sizes.

Real sites, filters, ledgers and protections are around the server's `TrainingRun`, as in a federation; no FLARE.
Data is made up; a job file whose workload has none here fails.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tests.unit.workloads.test_bank_credit_workload as credit
import tests.unit.workloads.test_heart_disease_workload as heart
import tests.unit.workloads.test_predictive_maintenance as drives
from flare_cases import JOB_ID, Pki, committed_steps, envelope, reservation, server_heads, write_roots
from test_protected_jobs import Members
from tests.simulator import key_pem, pem

from almoner.data.lung_nodules import PACKED_BYTES
from almoner.encryption.bfv_server import BfvServer
from almoner.encryption.bfv_site import BfvSite
from almoner.experiments.defences import RoundTerms, clip_norm_of, defence_of
from almoner.flare.door.render import render_app
from almoner.flare.job.protections import server_protection
from almoner.flare.results.job_result import JobResult
from almoner.flare.site.site_files import LEDGER, SiteFiles
from almoner.flare.site.tree import tree_digest
from almoner.flare.training.context import TrainingContext, load_training
from almoner.flare.training.run import TrainingRun
from almoner.privacy.ledger import Ledger
from almoner.privacy.plans import plan_of
from almoner.protection.plain import PlainServer, PlainSite
from almoner.protection.robust_plain import RobustServer
from almoner.provision.roster import render_roster
from almoner.schema.declarations import Declarations, declarations_of_study, job_sites
from almoner.schema.documents import load_document
from almoner.schema.envelope import AnyJob, JobEnvelope
from almoner.schema.job import JobSpec
from almoner.secagg.group_server import GroupedServer
from almoner.secagg.group_site import GroupedSite
from almoner.secagg.server import SecaggServer
from almoner.secagg.site import SecaggSite
from almoner.training.descent import Descent
from almoner.training.distributed import DistributedTrainer
from almoner.training.dp_sgd import DpSgdTrainer
from almoner.training.flat import flatten
from almoner.training.plain_sgd import UnsafePlainTrainer

JOBS = Path(__file__).resolve().parents[4] / "jobs"
ROUNDS, LOCAL_STEPS, RECORDS, UNITS = 2, 2, 12, 8
SERVER = "localhost"

TRAINERS = {"dp_sgd": DpSgdTrainer, "distributed_dp": DistributedTrainer, "none": UnsafePlainTrainer}
SIDES = {
    "plain": (PlainServer, PlainSite),
    "robust": (RobustServer, PlainSite),
    "he": (BfvServer, BfvSite),
    "secagg": (SecaggServer, SecaggSite),
    "groups": (GroupedServer, GroupedSite),
}
"""What an `aggregation` names, `groups` where it has any → the server's side and a site's."""


def table(line: Callable[..., str], header: str) -> str:
    """Return a file of `RECORDS` lines, every third of them for tests."""
    lines = [line(str(number), "train" if number % 3 else "test") for number in range(RECORDS)]
    return "".join(f"{text}\n" for text in (header, *lines))


def speeches() -> str:
    lines = [
        {"record_id": f"speaker-{number}", "split": "train" if number % 3 else "test", "speeches": ["Who 's there?"]}
        for number in range(RECORDS)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def images(side: int, classes: int) -> dict[str, np.ndarray]:
    """Return pictures of noise, every third of them for tests."""
    rng = np.random.default_rng(1)
    return {
        "images": rng.integers(0, 256, (RECORDS, side, side), np.uint8),
        "labels": rng.integers(0, classes, RECORDS, np.uint8),
        "is_test": np.arange(RECORDS) % 3 == 0,
        "ids": np.array([f"image-{number:02}" for number in range(RECORDS)]),
    }


def nodules() -> dict[str, np.ndarray]:
    """Return masks of noise of four patients with three records each, of whom one is for tests."""
    rng, patient = np.random.default_rng(1), np.arange(RECORDS) // 3
    return {
        "masks": rng.integers(0, 256, (RECORDS, PACKED_BYTES), np.uint8),
        "labels": rng.integers(0, 2, RECORDS, np.uint8),
        "is_test": patient == 0,
        "ids": np.array([f"patient-{number}" for number in patient]),
    }


FILES: dict[str, Callable[[], str | dict[str, np.ndarray]]] = {
    "heart_disease": lambda: table(heart.line, heart.HEADER),
    "bank_credit": lambda: table(credit.line, credit.HEADER),
    "predictive_maintenance": lambda: table(drives.line, drives.HEADER),
    "digits_scattering": lambda: images(28, 10),
    "digits_cnn": lambda: images(28, 10),
    "brain_mri": lambda: images(64, 2),
    "lung_nodules_3d": nodules,
    "next_word": speeches,
}
"""Workload → what a site's file of it holds."""


@cache
def declared_for(study: str) -> Declarations:
    return declarations_of_study(JOBS.parent, study)


def is_public(spec: JobSpec) -> bool:
    """Return whether the data is registered public at every site of a job."""
    declared = declared_for(spec.study)
    return all(declared.sites[site].datasets[spec.dataset].public for site in job_sites(spec, declared))


@cache
def public_jobs() -> dict[str, JobSpec]:
    """Return every training job on public data, by the name of its file."""
    found = {path.stem: load_document(path, AnyJob).root for path in sorted(JOBS.glob("*.yaml"))}
    return {name: spec for name, spec in found.items() if isinstance(spec, JobSpec) and is_public(spec)}


def in_small(spec: JobSpec) -> JobSpec:
    """Return a job with few steps, of which each has half of the few units."""
    steps = min(spec.training.local_steps, LOCAL_STEPS)
    changed = {
        "rounds": ROUNDS,
        "training": spec.training.model_copy(update={"local_steps": steps}),
        "privacy": spec.privacy.model_copy(update={"sampling_prob": 0.5}),
    }
    return spec.model_copy(update=changed)


def declarations_in_small(spec: JobSpec) -> Declarations:
    """Return the declarations of a job's consortium, each site of `UNITS` units."""
    declared = declared_for(spec.study)
    sites = dict(declared.sites)
    for site in job_sites(spec, declared):
        dataset = sites[site].datasets[spec.dataset].model_copy(update={"nominal_records": UNITS})
        sites[site] = sites[site].model_copy(update={"datasets": sites[site].datasets | {spec.dataset: dataset}})
    return replace(declared, sites=sites)


def pki_of(folder: Path, declared: Declarations) -> Pki:
    """Write the keys of a job's server and sites, and return them with the roster."""
    folder.mkdir()
    (folder / "root.pem").write_bytes(pem("root"))
    for name, whose in {"server": SERVER, **{site: site for site in declared.sites}}.items():
        (folder / f"{name}.key").write_bytes(key_pem(whose))
        (folder / f"{name}.crt").write_bytes(pem(whose))
    return Pki(
        folder, folder / "root.pem", render_roster(declared, {site: pem(site).decode() for site in declared.sites})
    )


def write_data(path: Path, content: str | dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True)
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        np.savez(path, allow_pickle=True, **content)  # type: ignore[arg-type]


def started(folder: Path, pki: Pki, declared: Declarations, made: JobEnvelope, site: str) -> TrainingContext:
    """Return a site's context of a job that its ledger admitted, with kit, data and account."""
    spec, kit = made.training, folder / "kit"
    (kit / "startup").mkdir(parents=True)
    (kit / "startup" / "client.key").write_bytes(pki.key(site).read_bytes())
    write_roots(kit, pki)
    files = SiteFiles(kit, folder, declared.policies[site], declared.sites[site], pki.roster)
    dataset = files.config.datasets[spec.dataset]
    write_data(folder / dataset.path, FILES[spec.workload]())
    (folder / LEDGER).parent.mkdir(mode=0o700)
    context = load_training(JOB_ID, files, made, plan_of(spec, len(made.sites)))
    with Ledger.create(folder / LEDGER, site) as ledger:
        ledger.open_account(next(own for own in files.policy.accounts if own.population == dataset.population))
        ledger.reserve(reservation(context))
        ledger.start(JOB_ID, tree_digest(render_app(made)))
    return context


def carried_out(folder: Path, spec: JobSpec) -> tuple[TrainingRun, Members, JobResult]:
    """Run a job over all of its sites."""
    declared = declarations_in_small(spec)
    pki, made = pki_of(folder / "pki", declared), envelope(spec, sites=job_sites(spec, declared))
    members = Members({site: started(folder / site, pki, declared, made, site) for site in made.sites})
    dimension = next(iter(members.contexts.values())).workload.dimension
    server = server_protection(made, JOB_ID, pki.roster, dimension)
    heads = server_heads(folder / "server", pki)
    run = TrainingRun(made, JOB_ID, server, dimension, members.ask, lambda progress: None, heads)
    return run, members, run.run(made.sites)


def by_the_rule(spec: JobSpec, members: Members) -> np.ndarray:
    """Return the weights that the sites' updates lead to by what `almoner curve` makes of the job's aggregation."""
    context = next(iter(members.contexts.values()))
    start, prob = flatten(context.workload.build_model()), spec.privacy.sampling_prob
    descent = Descent(start, context.grid, spec.training.learning_rate, prob, spec.training.server_momentum)
    terms = RoundTerms(
        sizes=np.full(len(members.contexts), UNITS, dtype=np.float64),
        num_byzantine=spec.num_byzantine_sites,
        step=context.grid.step,
        sampling_prob=prob,
        l2_clip_norm=clip_norm_of(spec),
        seed=0,
    )
    for number, updates in members.updates.items():
        total = defence_of(spec).combine(terms, number, np.stack(list(updates.values())))
        descent.apply(total, UNITS * len(updates))
    return descent.weights


def test_each_job_on_public_data_has_a_file_here() -> None:
    assert {spec.workload for spec in public_jobs().values()} == set(FILES)


@pytest.mark.parametrize("shipped", public_jobs().values(), ids=public_jobs())
def test_a_job_in_small(shipped: JobSpec, tmp_path: Path) -> None:
    spec = in_small(shipped)
    run, members, result = carried_out(tmp_path, spec)
    sites = tuple(members.contexts)
    assert members.errors == []
    steps = [f"train-{number:04}" for number in range(1, ROUNDS + 1)] + [each.kind for each in spec.releases]
    assert {site: committed_steps(context) for site, context in members.contexts.items()} == dict.fromkeys(sites, steps)
    assert {number: tuple(updates) for number, updates in members.updates.items()} == {1: sites, 2: sites}
    assert [record.contributors for record in result.rounds] == [sites] * ROUNDS
    assert tuple(result.releases) == (sites if spec.releases else ())

    aggregation = "groups" if shipped.grouping is not None else shipped.aggregation.kind
    assert (type(run.protection), {type(own.protection) for own in members.contexts.values()}) == (
        SIDES[aggregation][0],
        {SIDES[aggregation][1]},
    )
    trainers = {type(job._work._trainer) for job in members.jobs.values()}
    assert trainers == {TRAINERS[shipped.privacy.mechanism]}

    weights = members.weights(sites[0])
    assert all(np.array_equal(members.weights(site), weights) for site in sites)
    assert np.isfinite(weights).all()
    assert not np.array_equal(weights, flatten(members.contexts[sites[0]].workload.build_model()))
    if aggregation != "groups":  # which the sites draw by lot
        assert np.array_equal(weights, by_the_rule(spec, members))
