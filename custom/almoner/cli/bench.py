"""`almoner bench`: what the platform's parts cost, measured in this process on public data."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from almoner.cli.app import console, new_group, print_json
from almoner.cli.curve import (
    CACHE_OPTION,
    JSON_OPTION,
    OUT_OPTION,
    ROOT_OPTION,
    ROUNDS_OPTION,
    SPEC_ARGUMENT,
    with_rounds,
)
from almoner.cli.progress import RunProgress
from almoner.experiments.pipeline.layers import LAYERS, private_numbers, variants_of
from almoner.experiments.pipeline.measure import measure
from almoner.experiments.pipeline.plants import plants_of
from almoner.experiments.pipeline.plot import draw
from almoner.experiments.pipeline.table import Row, render_csv, render_table, row_json, rows_of
from almoner.experiments.public import PublicSite, load_public_sites
from almoner.experiments.runs import DEFAULT_RUNS, METRICS, RunFolder, verify_can_hold
from almoner.experiments.splits import thin_out
from almoner.schema.declarations import declarations_of_study
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.workloads.registry import workload

app = new_group("Measure what the platform's parts cost, on public data.")

DEFAULT_JOB = Path("jobs/predictive_maintenance.yaml")
SEEDS_OPTION = typer.Option("--seeds", min=1, max=100, help="runs of each layer; figures are their means")
SHARE_OPTION = typer.Option("--share", min=0.01, max=1, help="of the training units, to be quick")
_SHARE_SEED = 1


@app.callback()
def bench_group() -> None:
    """Measure what the platform's parts cost, on public data."""


@app.command("pipeline")
def pipeline_command(
    spec_path: Annotated[Path, SPEC_ARGUMENT] = DEFAULT_JOB,
    root: Annotated[Path, ROOT_OPTION] = Path(),
    cache: Annotated[Path, CACHE_OPTION] = Path("build/cache"),
    out: Annotated[Path, OUT_OPTION] = DEFAULT_RUNS,
    seeds: Annotated[int, SEEDS_OPTION] = 3,
    rounds: Annotated[int | None, ROUNDS_OPTION] = None,
    share: Annotated[float, SHARE_OPTION] = 1.0,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Add the layers of the pipeline one by one, and show what each costs: time, bytes, accuracy.

    A job is run without privacy, with DP, then under encryption or secret sharing, with commitments, and in robust
    groups, by the protocols of a real job, with all of its sites in this process, on data that is registered public.
    Nothing is charged to a ledger. Times are of the processor, medians over rounds, without a network. Fewer than nine
    sites, which make no groups, are dealt over several plants each, in every layer. A folder in build/runs/ keeps
    config.yaml, metrics.json, pipeline.csv and pipeline.png.

    Example: almoner bench pipeline jobs/bank_credit.yaml --seeds 1
    """
    started = time.monotonic()
    spec = with_rounds(load_document(spec_path, JobSpec), rounds)
    verify_can_hold(out)
    sites = _sites(spec, root, cache, share)
    rows = rows_of(measure(spec, workload(spec.workload), sites, seeds, RunProgress()))
    title = _title(spec, len(sites), seeds)
    facts = _facts(spec, sites, rows, share) | {"seconds": round(time.monotonic() - started, 1)}
    folder = RunFolder.create(out, f"pipeline-{spec.name}")
    folder.write_config(["almoner", *sys.argv[1:]], [spec], list(range(seeds)), share=share)
    folder.write_json(METRICS, facts)
    folder.write("pipeline.csv", render_csv(rows))
    folder.write("pipeline.png", draw(rows, title))
    if as_json:
        print_json(facts | {"folder": str(folder.path)})
        return
    for line in (title, *render_table(rows), *_notes(), f"{folder.path}"):
        console.print(line)


def _sites(spec: JobSpec, root: Path, cache: Path, share: float) -> dict[str, PublicSite]:
    """Return the sites that all layers run on."""
    private_numbers(spec)
    loaded = load_public_sites(spec, declarations_of_study(root, spec.study), cache)
    dealt = plants_of(loaded)
    return dealt if share == 1 else thin_out(dealt, share, _SHARE_SEED)


def _title(spec: JobSpec, num_sites: int, seeds: int) -> str:
    return (
        f"{spec.name}: {num_sites} sites, {spec.rounds} rounds, with DP ε={spec.target_epsilon:g} "
        f"(δ={spec.target_delta:g}, {spec.privacy_unit}) over the whole training, {seeds} seeds"
    )


def _facts(spec: JobSpec, sites: Mapping[str, PublicSite], rows: Sequence[Row], share: float) -> dict[str, Any]:
    """Return all that was measured, and on what."""
    variants = variants_of(spec, len(sites))
    return {
        "job": spec.name,
        "rounds": spec.rounds,
        "share": share,
        "sites": {name: site.config.nominal_records for name, site in sites.items()},
        "num_colluding_sites": variants.secagg.num_colluding_sites,
        "groups": variants.groups.aggregation.model_dump(mode="json"),
        "layers": [row_json(row) for row in rows],
    }


def _notes() -> list[str]:
    """Return what each layer adds."""
    return [
        "times of the processor and bytes of one site in a round; the set-up's once a job",
        *(f"{layer.title.strip()}: against {layer.against}" for layer in LAYERS[1:]),
    ]
