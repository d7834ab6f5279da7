"""The matrix as heat maps, in a PNG."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from almoner.redteam.poisoning.summary import Cell, Summary

_DPI = 120
_INCHES_PER_CELL = (0.62, 0.36)
_MARGIN_INCHES = (3.2, 1.9)


def heat_maps(summary: Summary, title: str) -> bytes:
    """Draw AUC (above) and the backdoor's success (below) of each attack and defence, one column of maps for each f.

    Args:
        summary: the means.
        title: the line on top.

    Returns:
        A PNG file.
    """
    columns = len(summary.contest.num_byzantine)
    width = columns * (len(summary.contest.columns) * _INCHES_PER_CELL[0] + _MARGIN_INCHES[0])
    height = 2 * (len(summary.contest.rows) * _INCHES_PER_CELL[1] + _MARGIN_INCHES[1])
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    axes = figure.subplots(2, columns, squeeze=False)
    figure.suptitle(title)
    for above, below, byzantine in zip(axes[0], axes[1], summary.contest.num_byzantine, strict=True):
        _draw(above, summary, _figures(summary, byzantine, "auc"), "RdYlGn", (0.5, summary.clean.auc))
        above.set_title(f"AUC, f={byzantine} (without attack {summary.clean.auc:.3f})")
        _draw(below, summary, _figures(summary, byzantine, "backdoor"), "RdYlGn_r", (0.0, 1.0))
        below.set_title(f"backdoor's success, f={byzantine}")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _figures(summary: Summary, byzantine: int, name: str) -> NDArray[np.float64]:
    """Return one figure of all cells, float64[defences, attacks]; NaN where there is none."""

    def figure(cell: Cell | None) -> float:
        return float("nan") if cell is None else float(getattr(cell, name))

    return np.array(
        [
            [figure(summary.cells.get((attack, defence, byzantine))) for attack in summary.contest.columns]
            for defence in (row.name for row in summary.contest.rows)
        ]
    )


def _draw(
    axes: Axes, summary: Summary, figures: NDArray[np.float64], colours: str, limits: tuple[float, float]
) -> None:
    """Draw one map with its figures in the cells."""
    axes.imshow(figures, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    axes.set_xticks(range(len(summary.contest.columns)), summary.contest.columns, rotation=40, ha="right")
    axes.set_yticks(range(len(summary.contest.rows)), [row.name for row in summary.contest.rows])
    for (row, column), value in np.ndenumerate(figures):
        text = "–" if np.isnan(value) else f"{value:.2f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7)
