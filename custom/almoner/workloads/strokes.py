"""Made-up pen strokes: what handwriting looks like before any is seen.

A picture has one or two curved strokes between points that are bytes of SHAKE-256 of a fixed text, moved so that its
centre of mass is in the middle, as the digits of the source are. So the pictures owe nothing to data, and are the same
on every machine.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SIDE = 28
_TEXT = b"almoner/strokes/1"
_BYTES = 13
"""One that chooses one stroke or two, and three points for each of these."""
_LOW, _HIGH = 4.5, 22.5
_STEPS = 40
_HALF_WIDTH, _PEN = 1.5, 1.8


def made_up_strokes(number: int) -> Tensor:
    """Return pictures of strokes, float32[number, 28, 28], from 0 to 1."""
    drawn = np.frombuffer(hashlib.shake_256(_TEXT).digest(_BYTES * number), np.uint8).reshape(number, _BYTES)
    return torch.from_numpy(np.stack([_picture(row) for row in drawn])).float()


def _picture(drawn: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Draw one picture."""
    points = _LOW + (_HIGH - _LOW) * drawn[1:].reshape(2, 3, 2) / 255
    strokes = points[: 1 + drawn[0] % 2]
    ink = np.max([_stroke(*stroke) for stroke in strokes], axis=0)
    shifts = [round(SIDE / 2 - np.average(np.arange(SIDE), weights=ink.sum(axis))) for axis in (1, 0)]
    return np.roll(ink, shifts, axis=(0, 1))


def _stroke(start: NDArray[np.float64], pull: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw a curve from start to end that a third point pulls at (a quadratic Bézier curve)."""
    t = np.linspace(0, 1, _STEPS)[:, None]
    curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * pull + t**2 * end
    down, across = ((np.arange(SIDE)[:, None] - curve[:, axis]) ** 2 for axis in (0, 1))
    distance = np.sqrt((down[:, None] + across).min(axis=-1))
    ink: NDArray[np.float64] = np.clip(_HALF_WIDTH - distance / _PEN, 0, 1)
    return ink
