"""Figures as small PNG files."""

import io

from matplotlib.figure import Figure
from PIL import Image

_COLOURS = 64


def png_of(figure: Figure) -> bytes:
    """Return a figure as an optimised PNG of at most 64 colours: the same bytes for the same figure."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(small, format="png", optimize=True)
    return small.getvalue()
