"""Draws quality against ε: the job and its private neighbours as curves with bands, the others as lines."""

import io
import textwrap
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from almoner.experiments.arms import ARMS, Arm
from almoner.experiments.curve import CurvePoint

_DPI = 130
_INCHES = (6.4, 5.8)
_TITLE_WIDTH = 60
_COLOURS: dict[Arm, str] = {
    "federated": "#1f5a96",
    "pooled": "#3b8f5c",
    "federated_no_noise": "#1f5a96",
    "pooled_non_private": "#3b8f5c",
    "alone_non_private": "#c0504d",
}
_LIVE = "#111111"
_LIVE_LABEL = "this run, federated for real"


def draw_curve(points: tuple[CurvePoint, ...], title: str, live: Mapping[str, tuple[float | None, float]]) -> bytes:
    """Draw one panel for each figure.

    Args:
        points: of one job.
        title: above all panels.
        live: for each figure the ε and the value of a real run; none where there was none.

    Returns:
        A PNG file.
    """
    names = list(dict.fromkeys(point.figure for point in points))
    figure = Figure(figsize=(_INCHES[0] * len(names), _INCHES[1]), dpi=_DPI, layout="constrained")
    figure.suptitle(textwrap.fill(title, _TITLE_WIDTH * len(names)))
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _panel(axes, [point for point in points if point.figure == name], live.get(name))
        axes.set_ylabel(f"{name} on the test records of all sites")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _panel(axes: Axes, points: list[CurvePoint], live: tuple[float | None, float] | None) -> None:
    """Draw one figure: curves over ε where there is any, else a line an arm."""
    epsilons = sorted({point.epsilon for point in points if point.epsilon is not None})
    for arm in ARMS:
        own = [point for point in points if point.arm == arm]
        if own and own[0].epsilon is not None:
            _curve(axes, arm, own)
        elif own:
            _line(axes, arm, own[0])
    if live is not None:
        place = live[0] if live[0] is not None else 0.5
        axes.plot([place], [live[1]], "*", markersize=15, color=_LIVE, fillstyle="none", label=_LIVE_LABEL, zorder=5)
    if epsilons:
        axes.set_xscale("log")
        axes.set_xticks(epsilons)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("ε of the whole run, for one unit of a site")
    else:
        axes.set_xlim(0, 1)
        axes.set_xticks([])
        axes.set_xlabel("no ε: public data")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), frameon=False)  # covers no line


def _curve(axes: Axes, arm: Arm, points: list[CurvePoint]) -> None:
    """Draw means over ε, and between the lowest and the highest seed."""
    epsilons = [float(point.epsilon or 0.0) for point in points]
    colour = _COLOURS[arm]
    label = f"{ARMS[arm]}: mean, lowest to highest of {points[0].seeds}"
    axes.fill_between(epsilons, [p.low for p in points], [p.high for p in points], color=colour, alpha=0.2, linewidth=0)
    axes.plot(epsilons, [p.mean for p in points], "o-", markersize=4, color=colour, label=label)


def _line(axes: Axes, arm: Arm, point: CurvePoint) -> None:
    """Draw a mean that has no ε as a line over the whole width."""
    style = {"federated": "-", "federated_no_noise": ":"}.get(arm, "--")
    axes.axhline(point.mean, linestyle=style, color=_COLOURS[arm], label=f"{ARMS[arm]}: {point.mean:.3g}")
    axes.axhspan(point.low, point.high, color=_COLOURS[arm], alpha=0.08, linewidth=0)
