"""`almoner communication`: what a job's rounds cost in bytes, and what other ways to train would make of them."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from almoner.cli.app import console, print_json
from almoner.cli.curve import ROUNDS_OPTION
from almoner.cli.progress import RunProgress
from almoner.errors import PolicyViolation
from almoner.experiments.communication import SPLIT_SEED, Line, measure, render_csv
from almoner.experiments.communication_plot import draw
from almoner.experiments.public import load_public_sites, test_records
from almoner.experiments.runs import DEFAULT_RUNS, METRICS, RunFolder, verify_can_hold
from almoner.experiments.signal import Signal, measure_signal
from almoner.experiments.splits import thin_out
from almoner.experiments.variants import COMMUNICATION, HETEROGENEITY, NOISE, SHIFTED, Variant
from almoner.schema.declarations import declarations_of_study
from almoner.schema.documents import load_document
from almoner.schema.job import MIN_TARGET_EPSILON, JobSpec
from almoner.training.flat import flatten
from almoner.workloads.metrics import figures_at
from almoner.workloads.registry import workload

Part = Literal["saving", "noise", "shifted", "skewed", "all"]
PARTS: dict[Part, tuple[Variant, ...]] = {
    "saving": COMMUNICATION,
    "noise": NOISE,
    "shifted": SHIFTED,
    "skewed": HETEROGENEITY,
    "all": COMMUNICATION + HETEROGENEITY,
}
PART_OPTION = typer.Option("--part", help="which variants; all is saving (noise is in it) and skewed, without shifted")
EPSILON_OPTION = typer.Option("--epsilon", min=MIN_TARGET_EPSILON, max=100, help="in place of the job's target_epsilon")


def communication_command(
    spec_path: Annotated[Path, typer.Argument(help="a training job, such as jobs/heart_disease.yaml")],
    root: Annotated[Path, typer.Option("--root", help="the folder with provisioning/ and site_configs/")] = Path(),
    cache: Annotated[Path, typer.Option("--cache", help="keeps the public data's archives")] = Path("build/cache"),
    out: Annotated[Path, typer.Option("--out", help="folder in which the run's folder is made")] = DEFAULT_RUNS,
    epsilon: Annotated[float | None, EPSILON_OPTION] = None,
    rounds: Annotated[int | None, ROUNDS_OPTION] = None,
    share: Annotated[float, typer.Option("--share", min=0.01, max=1, help="of the training units, to be quick")] = 1.0,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="runs of each variant")] = 3,
    part: Annotated[Part, PART_OPTION] = "all",
    processes: Annotated[int, typer.Option("--processes", min=1, max=64, help="runs at a time")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Train a job in other ways at the same total ε, and show accuracy against the bytes that a site sends.

    The sites train in this process, with the noise of a real job, on data that is registered public; any other is
    refused. Nothing is charged to a ledger. Bytes are those of the real messages. A folder in build/runs/ keeps
    config.yaml, metrics.json, communication.csv and communication.png.

    Example: almoner communication jobs/heart_disease.yaml --seeds 10
    """
    spec = _at(load_document(spec_path, JobSpec), epsilon, rounds)
    verify_can_hold(out)
    task, sites = workload(spec.workload), load_public_sites(spec, declarations_of_study(root, spec.study), cache)
    sites = sites if share == 1 else thin_out(sites, share, SPLIT_SEED)
    lines = measure(spec, task, sites, PARTS[part], seeds, processes, RunProgress())
    signal = measure_signal(spec, task, sites, 0)
    figure = next(iter(figures_at(task, flatten(task.build_model()), test_records(sites))))
    facts = {
        "figure": figure,
        "lines": [asdict(line) for line in lines],
        "signal": [asdict(each) for each in signal],
        "sites": {name: site.config.nominal_records for name, site in sites.items()},
    }
    folder = RunFolder.create(out, spec.name)
    folder.write_config(["almoner", *sys.argv[1:]], [spec], list(range(seeds)), share=share, part=part)
    folder.write_json(METRICS, facts)
    folder.write("communication.csv", render_csv(lines))
    folder.write("communication.png", draw(lines, figure, _title(spec, len(sites), seeds)))
    if as_json:
        print_json(facts | {"folder": str(folder.path)})
        return
    for line in (_title(spec, len(sites), seeds), *_table(lines, figure), *_signal_lines(signal)):
        console.print(line)
    console.print(f"{folder.path}")


def _at(spec: JobSpec, epsilon: float | None, rounds: int | None) -> JobSpec:
    """Return the job with another ε or number of rounds."""
    document = spec.model_dump()
    document["rounds"] = spec.rounds if rounds is None else rounds
    if spec.target_epsilon is None:
        raise PolicyViolation(f"job {spec.name}: trains without privacy, and has no ε to compare at → a private job")
    document["privacy"] |= {} if epsilon is None else {"target_epsilon": epsilon}
    return JobSpec.model_validate(document)


def _title(spec: JobSpec, num_sites: int, seeds: int) -> str:
    return (
        f"{spec.name}: {num_sites} sites, ε={spec.target_epsilon:g} (δ={spec.target_delta:g}, {spec.privacy_unit}) "
        f"over the whole training, {seeds} seeds"
    )


def _table(lines: Sequence[Line], figure: str) -> list[str]:
    """Return the table, as wide as it need be."""
    rows = [("variant", "data", "protection", "σ", "rounds", "lr", figure, "range", "sent", "received")]
    for line in lines:
        spread = f"{line.lowest:.4f}-{line.highest:.4f}"
        numbers = (f"{line.noise_multiplier:g}", f"{line.rounds}", f"{line.learning_rate:g}", f"{line.accuracy:.4f}")
        size = (_size(line.upload_bytes), _size(line.download_bytes))
        rows.append((line.variant, line.split, line.protection, *numbers, spread, *size))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _signal_lines(signals: Sequence[Signal]) -> list[str]:
    """Say how much of an update is signal."""
    return [
        f"round {each.number}: entries of a site's update are {each.ratio:.2f} of the noise on them; of the largest "
        f"tenth, {each.right:.0%} are still among the largest under noise (10% by chance)"
        for each in signals
    ]


def _size(num_bytes: int) -> str:
    """Return bytes as kB or MB."""
    return f"{num_bytes / 1e6:.2f} MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:.1f} kB"
