"""Draws the communication study: accuracy against bytes, and what skewed labels do."""

import io
from collections.abc import Sequence

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from almoner.experiments.communication import Line
from almoner.experiments.variants import OWN_SPLIT

_DPI = 130
_MARKERS = {"secagg": "o", "he": "s", "plain": "^"}
_COLOURS = colormaps["tab20"]


def draw(lines: Sequence[Line], figure_name: str, title: str) -> bytes:
    """Return a PNG: one point a variant on the job's own data, and one line a variant over the splits of dealt data.

    Args:
        lines: the table; a panel without lines is left out.
        figure_name: what accuracy is called.
        title: above both.
    """
    own, dealt = ([line for line in lines if (line.split == OWN_SPLIT) is is_own] for is_own in (True, False))
    panels = [(draw_one, some) for draw_one, some in ((_draw_saving, own), (_draw_skewed, dealt)) if some]
    figure = Figure(figsize=(7.5 * len(panels), 6), dpi=_DPI, layout="constrained")
    figure.suptitle(title)
    for axes, (draw_one, some) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw_one(axes, some, figure_name)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _draw_saving(axes: Axes, lines: Sequence[Line], figure_name: str) -> None:
    """Draw a variant's mean with its range over seeds where its bytes are."""
    for place, line in enumerate(lines):
        low, high = line.accuracy - line.lowest, line.highest - line.accuracy
        axes.errorbar(
            line.upload_bytes,
            line.accuracy,
            yerr=[[low], [high]],
            fmt=_MARKERS[line.protection],
            color=_COLOURS(place % 20),
            capsize=3,
            label=f"{line.variant} ({line.protection}, {line.rounds} rounds)",
        )
    axes.set_xscale("log")
    axes.set_xlabel("bytes that one site uploads in the whole training")
    axes.set_ylabel(f"{figure_name}, mean and range over seeds")
    axes.set_title("what saves bytes")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize=7, loc="lower right")


def _draw_skewed(axes: Axes, lines: Sequence[Line], figure_name: str) -> None:
    """Draw each remedy over the splits, from even to skewed."""
    splits = list(dict.fromkeys(line.split for line in lines))
    for place, name in enumerate(dict.fromkeys(line.variant for line in lines)):
        own = [line for line in lines if line.variant == name]
        spread = [[line.accuracy - line.lowest for line in own], [line.highest - line.accuracy for line in own]]
        axes.errorbar(
            [splits.index(line.split) for line in own],
            [line.accuracy for line in own],
            yerr=spread,
            fmt="o-",
            color=_COLOURS(place % 20),
            capsize=3,
            label=name,
        )
    axes.set_xticks(range(len(splits)), splits)
    axes.set_ylabel(f"{figure_name}, mean and range over seeds")
    axes.set_title("labels spread unevenly over the sites")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=7, loc="lower left")
