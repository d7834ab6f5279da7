"""Charts of a report as coordinates; the template draws them, beside tables with the same figures."""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_POINTS = 200
WIDTH, HEIGHT, PAD = 640.0, 240.0, 56.0


@dataclass(frozen=True)
class Bar:
    """One bar in a frame that ends at its limit; percentages of the page, and of the frame."""

    label: str
    cap_percent: float
    percent: float
    text: str


@dataclass(frozen=True)
class Line:
    """One line; `dash` tells it from others without colour."""

    label: str
    points: str
    dash: str
    end_y: float


@dataclass(frozen=True)
class Lines:
    """A chart of lines with the marks of its axes."""

    lines: tuple[Line, ...]
    x_marks: tuple[tuple[float, str], ...]
    y_marks: tuple[tuple[float, str], ...]


def bars(rows: Sequence[tuple[str, float, float]]) -> tuple[Bar, ...]:
    """Return bars for label, value and limit, to the scale of the largest limit."""
    top = max((limit for _, _, limit in rows), default=1.0)
    return tuple(
        Bar(label, round(100 * limit / top, 2), round(min(100.0, 100 * value / limit), 2), f"{value:.2f} of {limit:g}")
        for label, value, limit in rows
    )


def lines(series: Sequence[tuple[str, Sequence[float]]]) -> Lines:
    """Return lines that start at 0 and rise with each value.

    Args:
        series: label and values after each commit; at most `MAX_POINTS` are drawn, the last one always.
    """
    length = max((len(values) for _, values in series), default=0)
    top = max((max(values, default=0.0) for _, values in series), default=0.0) or 1.0
    x_scale, y_scale = (WIDTH - 2 * PAD) / max(length, 1), (HEIGHT - 2 * PAD) / top
    drawn = []
    for number, (label, values) in enumerate(series):
        step = max(1, -(-len(values) // MAX_POINTS))
        kept = [(0, 0.0)] + [(at, value) for at, value in enumerate(values, 1) if at % step == 0 or at == len(values)]
        points = [(PAD + at * x_scale, HEIGHT - PAD - value * y_scale) for at, value in kept]
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dash = ("", "8 4", "3 3", "12 3 3 3", "1 4", "6 2 2 2")[number % 6]
        drawn.append(Line(label, text, dash, points[-1][1]))
    x_marks = tuple((PAD + length * part * x_scale, f"{length * part:.0f}") for part in (0.0, 0.5, 1.0))
    y_marks = tuple((HEIGHT - PAD - top * part * y_scale, f"{top * part:.2f}") for part in (0.0, 0.5, 1.0))
    return Lines(tuple(drawn), x_marks, y_marks)
