"""`almoner personalise`: what models of the sites' own bring each site at one ε; in this process, on public data."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from almoner.cli.app import console, errors, print_json
from almoner.cli.curve import (
    CACHE_OPTION,
    JSON_OPTION,
    MAX_EPSILON,
    OUT_OPTION,
    PROCESSES_OPTION,
    ROOT_OPTION,
    ROUNDS_OPTION,
    SEEDS_OPTION,
    SPEC_ARGUMENT,
    with_rounds,
)
from almoner.cli.progress import PROGRESS_LINES, duration
from almoner.errors import PolicyViolation
from almoner.experiments import parallel
from almoner.experiments.personalise.candidates import METHODS, RATES, in_order
from almoner.experiments.personalise.comparison import FIRST_SPLIT, best_of, measure, try_candidates
from almoner.experiments.personalise.plot import render_bars
from almoner.experiments.personalise.study import study_of
from almoner.experiments.personalise.tables import comparison_json, render_choice_csv, render_csv, render_table
from almoner.experiments.public import load_public_sites
from almoner.experiments.runs import DEFAULT_RUNS, METRICS, RunFolder, verify_can_hold
from almoner.schema.declarations import declarations_of_study
from almoner.schema.documents import load_document
from almoner.schema.job import MIN_TARGET_EPSILON, JobSpec

METHOD_OPTION = typer.Option("--method", help="only this one beside the global model; repeatable")
EPSILON_OPTION = typer.Option("--epsilon", help="in place of the job's own", min=MIN_TARGET_EPSILON, max=MAX_EPSILON)
RATE_OPTION = typer.Option(
    "--rate", min=1e-3, max=1e3, help="learning rate to try, as a multiple of the job's; repeatable; 0.5, 1, 2 if none"
)
SPLITS_OPTION = typer.Option("--splits", min=1, max=100, help="ways to hold training units out, to choose on")


def personalise_command(
    spec_path: Annotated[Path, SPEC_ARGUMENT],
    root: Annotated[Path, ROOT_OPTION] = Path(),
    cache: Annotated[Path, CACHE_OPTION] = Path("build/cache"),
    out: Annotated[Path, OUT_OPTION] = DEFAULT_RUNS,
    method: Annotated[list[str] | None, METHOD_OPTION] = None,
    epsilon: Annotated[float | None, EPSILON_OPTION] = None,
    seeds: Annotated[int, SEEDS_OPTION] = 3,
    rate: Annotated[list[float] | None, RATE_OPTION] = None,
    splits: Annotated[int, SPLITS_OPTION] = 3,
    processes: Annotated[int, PROCESSES_OPTION] = 2,
    rounds: Annotated[int | None, ROUNDS_OPTION] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Compare models of each site's own with the job's one, on each site's own test records, at one ε for all methods.

    Each method's noise is calibrated to all the noised steps that it takes on a site's data, so that every site pays
    the same ε in total; beside it stands what the method would cost on top of the job at the job's own noise. Learning
    rates and strengths are chosen on held-out training units. All runs train in this process, on data that is
    registered public; any other is refused, and no ledger is charged. It leaves build/runs/<job>-personalise-<time>-
    <hex>/ with config.yaml, metrics.json, personalise.csv, personalise.png and candidates.csv.

    Example: almoner personalise jobs/heart_disease.yaml --seeds 5 --splits 5
    """
    started = time.monotonic()
    spec = with_epsilon(with_rounds(load_document(spec_path, JobSpec), rounds), epsilon)
    verify_can_hold(out)
    methods = in_order(METHODS if method is None else method)
    study = study_of(spec, load_public_sites(spec, declarations_of_study(root, spec.study), cache))
    with _shown("choosing") as progress:
        scores = try_candidates(study, methods, rate or RATES, splits, processes, progress)
    with _shown("measuring") as progress:
        comparison = measure(study, best_of(scores), seeds, processes, progress)
    facts = _facts(spec) | comparison_json(comparison) | {"seconds": round(time.monotonic() - started, 1)}
    title = _title(spec, seeds)
    folder = RunFolder.create(out, f"{spec.name}-personalise")
    chosen_on = list(range(FIRST_SPLIT, FIRST_SPLIT + splits))
    folder.write_config(["almoner", *sys.argv[1:]], [spec], list(comparison.seeds), seeds_of_splits=chosen_on)
    folder.write_json(METRICS, facts)
    folder.write("candidates.csv", render_choice_csv(scores))
    folder.write("personalise.csv", render_csv(comparison))
    folder.write("personalise.png", render_bars(comparison, title))
    if as_json:
        print_json(facts | {"folder": str(folder.path)})
        return
    for line in (title, *render_table(comparison), f"{facts['seconds']:.0f} s; {folder.path}"):
        console.print(line)


def with_epsilon(spec: JobSpec, epsilon: float | None) -> JobSpec:
    """Return a job with another ε for its training, or as it is.

    Raises:
        PolicyViolation: the job's training has no ε.
    """
    if epsilon is None:
        return spec
    if spec.target_epsilon is None:
        raise PolicyViolation(f"job {spec.name}: mechanism none has no ε to change → leave --epsilon out")
    return spec.model_copy(update={"privacy": spec.privacy.model_copy(update={"target_epsilon": epsilon})})


@contextmanager
def _shown(what: str) -> Iterator[parallel.Progress]:
    """Show how far a part of the work is: a bar in a terminal, some lines elsewhere."""
    started = time.monotonic()
    with Progress(console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task(what)

        def show(done: int, total: int) -> None:
            left = (time.monotonic() - started) / done * (total - done)
            line = f"{what}: {done} of {total} runs, {duration(left)} left"
            bar.update(task, completed=done, total=total, description=line)
            if not errors.is_terminal and done * PROGRESS_LINES // total > (done - 1) * PROGRESS_LINES // total:
                errors.print(f"  {line}")

        yield show


def _facts(spec: JobSpec) -> dict[str, Any]:
    """Return what the figures are about."""
    return {"job": spec.name, "workload": spec.workload, "unit": spec.privacy.unit}


def _title(spec: JobSpec, seeds: int) -> str:
    return (
        f"{spec.name}: {spec.rounds} rounds, every method at ε={spec.target_epsilon:g} in total "
        f"(δ={spec.target_delta:g}, {spec.privacy.unit}), {seeds} seeds"
    )
