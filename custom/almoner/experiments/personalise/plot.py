"""The comparison as bars: each method's gain over the global model, site by site, in a PNG."""

import io

import numpy as np
from matplotlib.figure import Figure

from almoner.experiments.personalise.comparison import Comparison
from almoner.training.personalise.shared import GlobalModel

_DPI = 120
_INCHES = (1.6, 4.5)
"""Width of a site, and height."""
_GROUP_WIDTH = 0.8


def render_bars(comparison: Comparison, title: str) -> bytes:
    """Draw one group of bars a site, one bar a method; whiskers are the standard deviation over seeds.

    Args:
        comparison: what was measured.
        title: the line on top.

    Returns:
        A PNG file.
    """
    columns = (*comparison.sites, "all")
    methods = [name for name in comparison.chosen if name != GlobalModel.name]
    figure = Figure(figsize=(_INCHES[0] * len(columns) + 2, _INCHES[1]), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    places, width = np.arange(len(columns)), _GROUP_WIDTH / max(1, len(methods))
    for number, name in enumerate(methods):
        gains = comparison.gains(name)
        spread = gains.std(axis=0, ddof=1) if len(gains) > 1 else None
        offset = (number - (len(methods) - 1) / 2) * width
        axes.bar(places + offset, gains.mean(axis=0), width, yerr=spread, label=name, capsize=2)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_xticks(places, columns)
    axes.set_ylabel("points above the global model")
    axes.set_title(title)
    axes.legend(ncols=2)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
