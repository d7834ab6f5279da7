"""Draws the layers: processor time, bytes, and the main figure of each, in a PNG."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from almoner.experiments.pipeline.table import Row

_DPI = 130
_INCHES = (16, 5)


def draw(rows: Sequence[Row], title: str) -> bytes:
    """Return a PNG with three panels, a bar a layer.

    Args:
        rows: the table.
        title: above all.
    """
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    figure.suptitle(title)
    left, middle, right = figure.subplots(1, 3)
    training = [row.training_seconds * 1e3 for row in rows]
    protection = [row.a_round.site_seconds * 1e3 for row in rows]
    _stack(left, rows, {"site: training": training, "site: protection": protection}, "processor ms a round")
    left.plot([row.a_round.server_seconds * 1e3 for row in rows], range(len(rows)), "kD", label="server")
    left.legend(fontsize=8)
    sent, received = ([size / 1e3 for size in sizes] for sizes in zip(*map(_bytes, rows), strict=True))
    _stack(middle, rows, {"sent": sent, "received": received}, "kB of a site a round")
    middle.legend(fontsize=8)
    name = next(iter(rows[0].figures))
    means, spreads = zip(*(row.figures[name] for row in rows), strict=True)
    right.errorbar(means, range(len(rows)), xerr=spreads, fmt="o", capsize=4)
    right.set_xlabel(f"{name}, mean and standard deviation over seeds")
    _name(right, rows)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _stack(axes: Axes, rows: Sequence[Row], parts: dict[str, list[float]], label: str) -> None:
    """Draw bars of several parts, end to end."""
    start = [0.0] * len(rows)
    for name, widths in parts.items():
        axes.barh(range(len(rows)), widths, left=start, label=name)
        start = [begin + width for begin, width in zip(start, widths, strict=True)]
    axes.set_xlabel(label)
    _name(axes, rows)


def _name(axes: Axes, rows: Sequence[Row]) -> None:
    """Name the layers, the first on top."""
    axes.set_yticks(range(len(rows)), [row.layer.title.strip() for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=True, axis="x", alpha=0.3)


def _bytes(row: Row) -> tuple[float, float]:
    return row.a_round.sent_bytes, row.a_round.received_bytes
