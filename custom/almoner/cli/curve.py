"""`almoner curve`: what a job's ε costs in quality, on public data and in this process."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from almoner.cli.app import console, print_json
from almoner.cli.comparison import carry_out, comparison_table, metrics
from almoner.errors import PolicyViolation
from almoner.experiments.arms import Laboratory, Seeds
from almoner.experiments.curve import DEFAULT_EPSILONS, render_csv, summarise, with_own
from almoner.experiments.curve_plot import draw_curve
from almoner.experiments.runs import DEFAULT_RUNS, METRICS, RunFolder, verify_can_hold
from almoner.schema.declarations import declarations_of_study
from almoner.schema.documents import load_document
from almoner.schema.job import MAX_ROUNDS, MIN_TARGET_EPSILON, JobSpec

MAX_EPSILON = 100.0

SPEC_ARGUMENT = typer.Argument(help="a training job, such as jobs/heart_disease.yaml")
ROOT_OPTION = typer.Option("--root", help="the folder with provisioning/, policies/ and site_configs/")
CACHE_OPTION = typer.Option("--cache", help="keeps the public data's archives")
OUT_OPTION = typer.Option("--out", help="folder in which the run's folder is made")
EPSILON_OPTION = typer.Option("--epsilon", help="ε to measure; repeatable", min=MIN_TARGET_EPSILON, max=MAX_EPSILON)
SEEDS_OPTION = typer.Option("--seeds", min=1, max=100, help="runs of the job at each ε; figures are their means")
BASELINE_SEEDS_OPTION = typer.Option(
    "--baseline-seeds", min=1, max=100, help="runs of each baseline; as many as of the job if not given"
)
PROCESSES_OPTION = typer.Option("--processes", min=1, max=64, help="runs at a time")
ROUNDS_OPTION = typer.Option(
    "--rounds", min=1, max=MAX_ROUNDS, help="in place of the job's own; the noise is calibrated to them"
)
JSON_OPTION = typer.Option("--json", help="print JSON for scripts")


def curve_command(
    spec_path: Annotated[Path, SPEC_ARGUMENT],
    root: Annotated[Path, ROOT_OPTION] = Path(),
    cache: Annotated[Path, CACHE_OPTION] = Path("build/cache"),
    out: Annotated[Path, OUT_OPTION] = DEFAULT_RUNS,
    epsilon: Annotated[list[float] | None, EPSILON_OPTION] = None,
    seeds: Annotated[int, SEEDS_OPTION] = 3,
    baseline_seeds: Annotated[int | None, BASELINE_SEEDS_OPTION] = None,
    processes: Annotated[int, PROCESSES_OPTION] = 2,
    rounds: Annotated[int | None, ROUNDS_OPTION] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Draw a job's quality against its ε, beside what it would be without privacy, or without the other sites.

    All runs train in this process, with the job's own trainer, noise, aggregation and steps, on data that is registered
    public; any other is refused. No site, no server and no ledger is involved. Without --epsilon the curve goes over
    0.5, 1, 2, 4, 8 and the job's own ε. It leaves build/runs/<job>-<time>-<hex>/ with config.yaml, metrics.json,
    curve.csv and curve.png.

    Example: almoner curve jobs/heart_disease.yaml --seeds 5
    """
    started = time.monotonic()
    spec = with_rounds(load_document(spec_path, JobSpec), rounds)
    if spec.target_epsilon is None:
        raise PolicyViolation(f"job {spec.name}: mechanism none has no ε to draw → almoner run {spec_path}")
    verify_can_hold(out)
    laboratory = Laboratory.load(spec, declarations_of_study(root, spec.study), cache)
    epsilons = tuple(sorted(set(epsilon))) if epsilon else with_own(DEFAULT_EPSILONS, spec.target_epsilon)
    results = carry_out(
        laboratory, laboratory.runs(Seeds(seeds, baseline_seeds or seeds), epsilons, epsilons), processes
    )
    points = summarise(results)
    facts = metrics(laboratory, results, points) | {"seconds": round(time.monotonic() - started, 1)}
    folder = RunFolder.create(out, spec.name)
    folder.write_config(["almoner", *sys.argv[1:]], [spec], list(range(seeds)), epsilons=list(epsilons))
    folder.write_json(METRICS, facts)
    table, png = (
        folder.write("curve.csv", render_csv(points)),
        folder.write("curve.png", draw_curve(points, title(spec, seeds), {})),
    )
    if as_json:
        print_json(facts | {"csv": str(table), "png": str(png)})
        return
    console.print(comparison_table(spec, points, facts["test_records"], None))
    console.print(f"{facts['seconds']:.0f} s; {png}\n{table}")


def with_rounds(spec: JobSpec, rounds: int | None) -> JobSpec:
    """Return a job with another number of rounds, or as it is."""
    return spec if rounds is None else spec.model_copy(update={"rounds": rounds})


def title(spec: JobSpec, seeds: int) -> str:
    """Say what a plot is of."""
    terms = "" if spec.target_epsilon is None else f", δ={spec.target_delta:g} for one {spec.privacy.unit} of a site"
    return f"{spec.name}: {spec.rounds} rounds{terms}, {seeds} seed{'s' if seeds > 1 else ''}"
