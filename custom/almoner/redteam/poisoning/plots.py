"""The matrix as heat maps, in a PNG."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from almoner.redteam.png import png_of
from almoner.redteam.poisoning.catalogue import BACKDOORS, NO_ATTACK
from almoner.redteam.poisoning.summary import Summary

_DPI = 120
_INCHES_PER_CELL = (0.62, 0.36)
_MARGIN_INCHES = (3.0, 2.0)
_WORST_LOSS = 0.1
"""AUC lost at which the colour is that of the worst."""

Figures = Literal["auc", "backdoor"]


def heat_maps(summary: Summary, title: str) -> bytes:
    """Draw one row for each f: AUC of each attack and defence, and beside it the success of backdoors.

    Args:
        summary: the means.
        title: the line on top.

    Returns:
        A PNG file.
    """
    attacks = summary.contest.columns
    backdoors = [name for name in attacks if name == NO_ATTACK or name in BACKDOORS]
    liars = summary.contest.num_byzantine
    width = (len(attacks) + len(backdoors)) * _INCHES_PER_CELL[0] + _MARGIN_INCHES[0]
    height = len(liars) * (len(summary.contest.rows) * _INCHES_PER_CELL[1] + _MARGIN_INCHES[1])
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    axes = figure.subplots(len(liars), 2, squeeze=False, sharey=True, width_ratios=(len(attacks), len(backdoors)))
    figure.suptitle(title)
    best = summary.clean.auc
    for (left, right), byzantine in zip(axes, liars, strict=True):
        _draw(left, attacks, _values(summary, attacks, byzantine, "auc"), "RdYlGn", (best - _WORST_LOSS, best))
        left.set_title(f"AUC with {byzantine} lying (without attack and defence {best:.3f})")
        left.set_yticks(range(len(summary.contest.rows)), [row.name for row in summary.contest.rows])
        _draw(right, backdoors, _values(summary, backdoors, byzantine, "backdoor"), "RdYlGn_r", (0.0, 1.0))
        right.set_title("trigger passes")
    return png_of(figure)


def _values(summary: Summary, attacks: Sequence[str], byzantine: int, figure: Figures) -> NDArray[np.float64]:
    """Return one figure of some attacks against all defences, float64[defences, attacks]; NaN where there is none."""
    cells = [[summary.cells.get((name, row.name, byzantine)) for name in attacks] for row in summary.contest.rows]
    return np.array([[np.nan if cell is None else getattr(cell, figure) for cell in line] for line in cells])


def _draw(
    axes: Axes, attacks: Sequence[str], values: NDArray[np.float64], colours: str, limits: tuple[float, float]
) -> None:
    """Draw one map with its values in the cells."""
    axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto", alpha=0.7)
    axes.set_xticks(range(len(attacks)), attacks, rotation=40, ha="right")
    for (row, column), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else f"{value:.3f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7)
