"""`almoner run`: jobs on a real federation of their consortium, beside what they are measured against."""

import sys
import time
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from almoner.cli.app import console
from almoner.cli.comparison import carry_out_together, comparison_table, metrics
from almoner.cli.curve import (
    BASELINE_SEEDS_OPTION,
    CACHE_OPTION,
    EPSILON_OPTION,
    OUT_OPTION,
    PROCESSES_OPTION,
    ROOT_OPTION,
    ROUNDS_OPTION,
    SEEDS_OPTION,
    title,
    with_rounds,
)
from almoner.cli.live import lead_of, run_live, stop_on_sigterm
from almoner.cli.receipts import receipts_of
from almoner.errors import DocumentError, PolicyViolation
from almoner.experiments.arms import OF_THE_DATA, Laboratory, Seeds
from almoner.experiments.curve import CurvePoint, render_csv, summarise, with_own
from almoner.experiments.curve_plot import draw_curve
from almoner.experiments.runs import DEFAULT_RUNS, METRICS, RECEIPTS, RunFolder, verify_can_hold
from almoner.flare.commands.federation import Federation, free_port
from almoner.flare.commands.planning import plan_job
from almoner.flare.commands.public_data import place_public_data
from almoner.flare.kits.provisioning import ProvisionedConsortium, provision
from almoner.schema.declarations import Declarations, declarations_of_study
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.training.units import UnitRecords
from almoner.workloads.metrics import figures_at
from almoner.workloads.registry import workload

JOB_TIMEOUT_SECONDS = 3600.0
CONSORTIUM = "consortium"
"""The folder of the consortium in that of the run."""


@dataclass(frozen=True)
class Compared:
    """One job's runs in this process, and what its real model is measured on."""

    spec: JobSpec
    points: tuple[CurvePoint, ...]
    facts: dict[str, Any]
    test: UnitRecords


def run_command(
    spec_paths: Annotated[list[Path], typer.Argument(help="training jobs of one consortium")],
    root: Annotated[Path, ROOT_OPTION] = Path(),
    cache: Annotated[Path, CACHE_OPTION] = Path("build/cache"),
    out: Annotated[Path, OUT_OPTION] = DEFAULT_RUNS,
    epsilon: Annotated[list[float] | None, EPSILON_OPTION] = None,
    seeds: Annotated[int, SEEDS_OPTION] = 3,
    baseline_seeds: Annotated[int | None, BASELINE_SEEDS_OPTION] = None,
    processes: Annotated[int, PROCESSES_OPTION] = 2,
    rounds: Annotated[int | None, ROUNDS_OPTION] = None,
) -> None:
    """Run jobs on a real federation, and show their models beside those without privacy, or without the other sites.

    First each job (at its own ε and each --epsilon) and its baselines train in this process, over seeds, on data that
    is registered public. Then a new consortium is provisioned in the run's folder, its server and sites start on this
    machine, and each job is submitted by its study's lead. The folder build/runs/<job>-<time>-<hex>/ keeps config.yaml,
    metrics.json, receipts.json from the sites' ledgers, and a CSV and a plot of each job.

    Example: almoner run jobs/heart_disease.yaml
    """
    stop_on_sigterm()
    specs = [with_rounds(load_document(path, JobSpec), rounds) for path in spec_paths]
    declarations = _one_consortium(specs, root)
    leads = {spec.study: lead_of(declarations.consortium, spec.study) for spec in specs}
    _verify_admitted(specs, declarations, leads)
    verify_can_hold(out)
    numbers = Seeds(seeds, baseline_seeds or seeds)
    _say(1, "the jobs and their baselines, in this process")
    compared = _compare_all(specs, declarations, cache, epsilon or [], numbers, processes)
    folder = RunFolder.create(out, specs[0].name if len(specs) == 1 else specs[0].study)
    folder.write_config(["almoner", *sys.argv[1:]], specs, list(range(seeds)), consortium=declarations.declared)
    _say(2, f"provision {declarations.consortium.name} in {folder.path}, and give its sites their public data")
    consortium = provision(root, folder.path / CONSORTIUM, free_port(), declarations.declared)
    place_public_data(consortium.root, cache)
    facts: dict[str, Any] = {}
    with Federation(consortium) as federation:
        _say(3, "start the server and the sites: real processes, mTLS on localhost")
        federation.start(lambda text: console.print(f"  {text}"))
        for number, job in enumerate(compared, start=4):
            _say(number, f"submit {job.spec.name} as {leads[job.spec.study]}")
            facts[job.spec.name] = _federate(folder, consortium, job, leads[job.spec.study], seeds)
            folder.write_json(METRICS, facts)
            folder.write_json(RECEIPTS, receipts_of(consortium))
    console.print(f"everything is in {folder.path}; a site's ledger: almoner ledger show {_a_site(consortium)}")


def _say(number: int, text: str) -> None:
    """Print a step's heading."""
    console.print(f"{number}. {text}", style="bold")


def _one_consortium(specs: list[JobSpec], root: Path) -> Declarations:
    """Return the declarations of the consortium that all jobs are of."""
    found = {spec.name: declarations_of_study(root, spec.study) for spec in specs}
    if len(found) < len(specs):
        raise DocumentError("run: two jobs have one name → give each its own")
    if len(names := sorted({declarations.consortium.name for declarations in found.values()})) > 1:
        raise DocumentError(f"run: the jobs are of {', '.join(names)} → run each consortium's by themselves")
    return found[specs[0].name]


def _verify_admitted(specs: list[JobSpec], declarations: Declarations, leads: dict[str, str]) -> None:
    """Refuse before hours of work what a site would refuse after them."""
    for spec in specs:
        for decision in plan_job(spec, declarations, user=leads[spec.study]):
            if decision.verdict == "refused":
                raise PolicyViolation(decision.render())


def _compare_all(
    specs: list[JobSpec], declarations: Declarations, cache: Path, epsilons: list[float], seeds: Seeds, processes: int
) -> list[Compared]:
    """Carry out the jobs' runs in this process. The data is not kept, but for the test records."""
    compared: list[Compared] = []
    for _, alike in groupby(specs, lambda spec: (spec.study, spec.workload, spec.dataset)):
        compared += _compare(list(alike), declarations, cache, epsilons, seeds, processes)
    return compared


def _compare(
    specs: list[JobSpec], declarations: Declarations, cache: Path, epsilons: list[float], seeds: Seeds, processes: int
) -> list[Compared]:
    """Carry out the runs of jobs that train one model on the same data; what owes nothing to the job, once."""
    started = time.monotonic()
    first = Laboratory.load(specs[0], declarations, cache)
    laboratories = [replace(first, spec=spec) for spec in specs]
    wanted = [
        laboratory.runs(seeds, with_own(epsilons, spec.target_epsilon), with_own([], spec.target_epsilon))
        for laboratory, spec in zip(laboratories, specs, strict=True)
    ]
    own = wanted[:1] + [[run for run in runs if run.arm not in OF_THE_DATA] for runs in wanted[1:]]
    found = carry_out_together(laboratories, own, processes)
    compared: list[Compared] = []
    for laboratory, runs, figures in zip(laboratories, wanted, found, strict=True):
        results = {run: (found[0] if run.arm in OF_THE_DATA else figures)[run] for run in runs}
        points = summarise(results)
        facts = metrics(laboratory, results, points) | {"in_process_seconds": round(time.monotonic() - started, 1)}
        compared.append(Compared(laboratory.spec, points, facts, laboratory.pooled.data.test))
    return compared


def _federate(
    folder: RunFolder, consortium: ProvisionedConsortium, job: Compared, lead: str, seeds: int
) -> dict[str, Any]:
    """Run one job for real, show its model beside the others, and return all that was measured."""
    started, spec = time.monotonic(), job.spec
    result = run_live(consortium, spec, lead, JOB_TIMEOUT_SECONDS)
    seconds = round(time.monotonic() - started, 1)
    live = None
    if result.model is not None:
        live = figures_at(workload(spec.workload), np.array(result.model), job.test)
    else:
        console.print("  not all sites released the model, so it is not measured")
    folder.write(f"{spec.name}.csv", render_csv(job.points))
    marks = {name: (spec.target_epsilon, value) for name, value in (live or {}).items()}
    folder.write(f"{spec.name}.png", draw_curve(job.points, title(spec, seeds), marks))
    console.print(comparison_table(spec, job.points, len(job.test.unit), live))
    return job.facts | {"federated_for_real": live, "federated_seconds": seconds}


def _a_site(consortium: ProvisionedConsortium) -> Path:
    """Return the folder of one of the sites."""
    return consortium.site_folder(consortium.declarations.consortium.sites[0])
