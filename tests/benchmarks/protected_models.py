"""The models whose updates are encrypted, ours and FLARE's side alike."""

import math

import numpy as np
import numpy.typing as npt

Update = npt.NDArray[np.float32]
Model = dict[str, Update]
SITES = 5


def make_update(dimension: int, seed: int) -> Update:
    """Return a site's update: float32[d], standard deviation 0.05."""
    return np.random.default_rng(seed).standard_normal(dimension, dtype=np.float32) * np.float32(0.05)


def models(shapes: dict[str, list[int]]) -> list[Model]:
    """Return an update of each site as a model's tensors."""
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])
    made = []
    for seed in range(SITES):
        parts = np.split(make_update(int(ends[-1]), seed), ends[:-1])
        made.append({name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)})
    return made
