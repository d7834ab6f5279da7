"""Draws error against ε: measured with its 95 % band, beside what theory expects."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from almoner.release.curve import CurvePoint

mpl.use("Agg")
_COLUMNS = 3
_MEASURED, _EXPECTED = "#1f5a96", "#c0504d"


def draw_curve(points: tuple[CurvePoint, ...], title: str, path: Path) -> None:
    """Write a PNG with one panel for each statistic of each query.

    Args:
        points: of one curve.
        title: above all panels.
        path: the file; its folder exists.
    """
    panels: dict[tuple[str, str], list[CurvePoint]] = {}
    for point in points:
        panels.setdefault((point.query, point.statistic), []).append(point)
    rows = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(4.2 * _COLUMNS, 3.2 * rows + 0.6), layout="constrained")
    figure.suptitle(title)
    for place, ((query, statistic), own) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        epsilons = [point.epsilon for point in own]
        axes.fill_between(
            epsilons, [p.band_low for p in own], [p.band_high for p in own], color=_MEASURED, alpha=0.2, linewidth=0
        )
        axes.plot(epsilons, [p.error for p in own], "o-", color=_MEASURED, label="measured, 95 % of runs")
        axes.plot(epsilons, [p.theory for p in own], "--", color=_EXPECTED, label="theory")
        axes.set_xscale("log")
        axes.set_yscale("log" if all(point.error > 0 and point.theory > 0 for point in own) else "linear")
        axes.set_title(f"{query}: {statistic} ({own[0].numbers})", fontsize=10)
        axes.set_xlabel("ε of the whole request")
        axes.set_ylabel("root mean squared error")
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=130)
