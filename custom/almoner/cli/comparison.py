"""What `almoner curve` and `almoner run` share: carrying out a comparison's runs, its table, and its files."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.progress import Progress
from rich.table import Table

from almoner.cli.app import errors
from almoner.cli.progress import duration
from almoner.experiments.arms import ARMS, Laboratory, Run
from almoner.experiments.curve import CurvePoint, Results
from almoner.experiments.parallel import run_each
from almoner.schema.job import JobSpec

Figures = dict[str, float]


def carry_out(laboratory: Laboratory, runs: list[Run], processes: int) -> dict[Run, Figures]:
    """Carry out one job's runs; see `carry_out_together`."""
    return carry_out_together([laboratory], [runs], processes)[0]


def carry_out_together(
    laboratories: Sequence[Laboratory], runs: Sequence[list[Run]], processes: int
) -> list[dict[Run, Figures]]:
    """Carry out the runs of several jobs, and show how far they are: a bar in a terminal, one line a run elsewhere.

    All are in one pool, so that no process waits for the last run of a job.

    Returns:
        For each job its runs' figures, in the order of the runs.
    """
    for laboratory, own in zip(laboratories, runs, strict=True):
        laboratory.calibrate(own)
    tasks = [(number, run) for number, own in enumerate(runs) for run in own]
    found: dict[tuple[int, Run], Figures] = {}
    started = time.monotonic()
    with Progress(console=errors, disable=not errors.is_terminal) as bar:
        shown = bar.add_task(", ".join(laboratory.spec.name for laboratory in laboratories), total=len(tasks))
        for task, figures in run_each(lambda task: laboratories[task[0]].measure(task[1]), tasks, processes):
            found[task] = figures
            left = (time.monotonic() - started) / len(found) * (len(tasks) - len(found))
            bar.advance(shown)
            if not errors.is_terminal:
                whose = f"{laboratories[task[0]].spec.name}: " if len(laboratories) > 1 else ""
                line = whose + run_line(task[1], figures)
                errors.print(f"  {len(found)}/{len(tasks)}  {line}  ({duration(left)} left)")
    return [{run: found[number, run] for run in own} for number, own in enumerate(runs)]


def run_line(run: Run, figures: Figures) -> str:
    """Say what a run came to, such as `federated (the job), ε=1, seed 0: accuracy 0.801`."""
    epsilon = "" if run.epsilon is None else f", ε={run.epsilon:g}"
    values = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
    return f"{ARMS[run.arm]}{epsilon}, seed {run.seed}: {values}"


def comparison_table(spec: JobSpec, points: tuple[CurvePoint, ...], test_records: int, live: Figures | None) -> Table:
    """Return one row for each arm and ε, one column for each figure; the real run's first, if there was one.

    Args:
        live: figures of a model that a real federation trained; None if there is none.
    """
    names = list(dict.fromkeys(point.figure for point in points))
    title = f"{spec.name}: on the {test_records} test records of all sites (public data)"
    table = Table("model", "ε", "seeds", *names, title=title)
    table.caption = f"mean ± standard deviation over seeds; ε is for one {spec.privacy.unit} of a site"
    if live is not None:
        own = "∞" if spec.target_epsilon is None else f"{spec.target_epsilon:g}"
        table.add_row("this run: federated for real", own, "1", *(_number(live[name]) for name in names))
    for arm, epsilon in dict.fromkeys((point.arm, point.epsilon) for point in points):
        row = {point.figure: point for point in points if (point.arm, point.epsilon) == (arm, epsilon)}
        cells = (_cell(row[name]) for name in names)
        seeds = str(next(iter(row.values())).seeds)
        table.add_row(ARMS[arm], "∞" if epsilon is None else f"{epsilon:g}", seeds, *cells)
    return table


def _cell(point: CurvePoint) -> str:
    """Return a mean and, of more than one seed, its spread."""
    return _number(point.mean) + (f" ± {_number(point.stdev)}" if point.seeds > 1 else "")


def _number(value: float) -> str:
    """Return a share with four digits, a large number with one."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"


def metrics(laboratory: Laboratory, results: Results, points: tuple[CurvePoint, ...]) -> dict[str, Any]:
    """Return everything that was measured, for metrics.json."""
    spec = laboratory.spec
    return {
        "job": spec.name,
        "target_epsilon": spec.target_epsilon,
        "target_delta": spec.target_delta if spec.target_epsilon is not None else None,
        "unit": spec.privacy.unit,
        "rounds": spec.rounds,
        "sites": {name: site.config.nominal_records for name, site in laboratory.sites.items()},
        "test_records": len(laboratory.pooled.data.test.unit),
        "points": [asdict(point) for point in points],
        "runs": [asdict(run) | {"figures": dict(figures)} for run, figures in results.items()],
    }
