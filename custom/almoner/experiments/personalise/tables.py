"""The comparison as text, CSV and JSON."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from almoner.experiments.personalise.candidates import Candidate
from almoner.experiments.personalise.comparison import Comparison
from almoner.experiments.personalise.costs import cost_of
from almoner.training.personalise.shared import GlobalModel

_COSTS_ARE = "ε is of one unit at one site, by PLD over its noised steps, and the same at all sites"
_CSV_COLUMNS = ("method", "seed", "site", "figure")


def render_table(comparison: Comparison) -> list[str]:
    """Return the comparison in lines: figures of the global model, gains of the others, and what each costs a site."""
    study = comparison.study
    rows = [["", *comparison.sites, "all"]]
    rows.append(["test records", *(str(number) for number in [*study.test_records.values(), _total(comparison)])])
    rows.append(["global, in %", *_cells(comparison.points(GlobalModel.name), "")])
    others = [name for name in comparison.chosen if name != GlobalModel.name]
    rows += [[f"{name}, gain", *_cells(comparison.gains(name), "+")] for name in others]
    return [*_aligned(rows), "", *_cost_lines(comparison), _COSTS_ARE]


def render_csv(comparison: Comparison) -> str:
    """Return one line a method, seed and site."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for key, figure in comparison.figures.items():
        writer.writerow((*key, f"{figure:.6f}"))
    return text.getvalue()


def render_choice_csv(scores: Mapping[Candidate, float]) -> str:
    """Return one line for each candidate that was tried, with its figure on held-out training units."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("method", "hyper_parameters", "held_out_figure"))
    for candidate, score in scores.items():
        writer.writerow((candidate.method.name, _in_words(candidate), f"{score:.6f}"))
    return text.getvalue()


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return the means, spreads and costs in types that JSON has; what is no number is null."""
    study = comparison.study
    columns = (*comparison.sites, "all")
    return {
        "target_epsilon": study.target_epsilon,
        "target_delta": study.target_delta,
        "job_noise_multiplier": study.plan.noise_multiplier,
        "rounds": study.plan.rounds,
        "local_steps": study.plan.local_steps,
        "seeds": list(comparison.seeds),
        "test_records": study.test_records,
        "methods": {
            name: {
                "chosen": _numbers(candidate),
                "cost": asdict(cost_of(study, candidate)),
                "points": _summary(columns, comparison.points(name)),
                "gain": _summary(columns, comparison.gains(name)),
            }
            for name, candidate in comparison.chosen.items()
        },
    }


def _cost_lines(comparison: Comparison) -> list[str]:
    """Return what every method costs each site."""
    study = comparison.study
    job = f"the job's σ={study.plan.noise_multiplier:g}"
    rows = [["", "noised steps", f"σ at ε={study.target_epsilon:g}", f"ε at {job}", "extra ε there", "chosen"]]
    for name, candidate in comparison.chosen.items():
        cost = cost_of(study, candidate)
        rows.append(
            [
                name,
                str(cost.num_steps),
                f"{cost.noise_multiplier:.3f}",
                f"{cost.epsilon_at_job_noise:.3f}",
                f"{cost.extra_epsilon:.3f}" if cost.extra_epsilon else "0",
                _in_words(candidate),
            ]
        )
    return _aligned(rows)


def _numbers(candidate: Candidate) -> dict[str, float]:
    """Return a candidate's hyper-parameters by name."""
    return {"learning_rate_factor": candidate.rate, **asdict(candidate.method)}


def _in_words(candidate: Candidate) -> str:
    return ", ".join(f"{key}={value:g}" for key, value in _numbers(candidate).items())


def _summary(columns: tuple[str, ...], values: NDArray[np.float64]) -> dict[str, dict[str, float | None]]:
    """Return mean and standard deviation over seeds, by column."""
    means, spreads = values.mean(axis=0), _spread(values)
    return {
        column: {"mean": _number(mean), "deviation": _number(spread)}
        for column, mean, spread in zip(columns, means, spreads, strict=True)
    }


def _cells(values: NDArray[np.float64], sign: str) -> list[str]:
    """Return "mean ±deviation" over seeds, one a column."""
    return [
        "-" if np.isnan(mean) else f"{mean:{sign}.1f}" + ("" if np.isnan(spread) else f" ±{spread:.1f}")
        for mean, spread in zip(values.mean(axis=0), _spread(values), strict=True)
    ]


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation over seeds, NaN for one seed."""
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _total(comparison: Comparison) -> int:
    return sum(comparison.study.test_records.values())


def _aligned(rows: list[list[str]]) -> list[str]:
    """Return lines in columns, the first to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
