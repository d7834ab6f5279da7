"""Homomorphic encryption beside FLARE's own: five sites, float32 updates of a flat million and of a MONAI UNet.

- `client_speedup_vs_flare`: from the update in floats to the message in bytes.
- `server_speedup_vs_flare`: from five messages in bytes to what goes back to the sites in bytes.
- `client_round_speedup_vs_flare`: the client's time with the decryption of the result; in ours it also acknowledges
  and checks the sum, and expands the sites' seeds, which FLARE's server does.
- `upload_vs_float32`: bytes of a message over the bytes of the update.
"""

import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
from tests.benchmarks.flare_he import FlareHe, Model
from tests.benchmarks.one_core import median, on_one_core, ratio, timed
from tests.benchmarks.protection_job import ProtectedJob, Update, make_update

SITES = 5
ROUNDS = 5
FLAT = {"weights": [1_000_000]}
UNET = Path(__file__).with_name("unet_shapes.json")


def split(update: Update, shapes: dict[str, list[int]]) -> Model:
    """Return an update as a model's tensors."""
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1]
    parts = np.split(update, ends)
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def _flare_round(flare: FlareHe, models: list[Model], seconds: dict[str, list[float]]) -> int:
    """Run a round of FLARE's encryption, check its mean, and return a message's length."""
    messages = []
    for model in models:
        message, spent = timed(lambda model=model: flare.protect(model))
        messages.append(message)
        seconds["client"].append(spent)
    result, spent = timed(lambda: flare.combine(messages))
    seconds["server"].append(spent)
    opened, spent = timed(lambda: flare.open(result))
    seconds["open"].append(spent)
    for name, values in opened.items():
        error = np.abs(np.asarray(values) - np.mean([model[name].ravel() for model in models], axis=0)).max()
        if error > 1e-4:
            raise RuntimeError(f"FLARE's mean of {name} is off by {error}")
    return len(messages[0])


def _our_round(job: ProtectedJob, models: list[Model], seconds: dict[str, list[float]]) -> None:
    """Run a round of ours; making one vector of the model's tensors is the client's work too."""
    updates = {}
    flatten = []
    for name, model in zip(job.names, models, strict=True):
        updates[name], spent = timed(lambda model=model: np.concatenate([part.ravel() for part in model.values()]))
        flatten.append(spent)
    costs = job.round(updates)
    calls = (costs.sites[call] for call in ("quantise", "begin", "protect"))
    seconds["client"] += [sum(parts) for parts in zip(flatten, *calls, strict=True)]
    seconds["protect"] += costs.sites["protect"]
    seconds["server"].append(sum(costs.server))
    acknowledge = costs.sites.get("acknowledge", [0.0] * SITES)
    seconds["open"] += [sum(parts) for parts in zip(acknowledge, costs.sites["open"], strict=True)]


def _compare(shapes: dict[str, list[int]]) -> dict[str, float]:
    """Measure both sides on one model, round by round in turn; the first round is a warm-up."""
    dimension = sum(math.prod(shape) for shape in shapes.values())
    flare, job = FlareHe(), ProtectedJob("he", SITES, dimension)
    models = [split(make_update(dimension, seed), shapes) for seed in range(SITES)]
    ours: dict[str, list[float]] = defaultdict(list)
    theirs: dict[str, list[float]] = defaultdict(list)
    for number in range(ROUNDS + 1):
        length = _flare_round(flare, models, theirs)
        _our_round(job, models, ours)
        if number == 0:
            ours.clear()
            theirs.clear()
    own, other = ({call: median(spent) for call, spent in side.items()} for side in (ours, theirs))
    return {
        "client_speedup_vs_flare": ratio(own["client"], other["client"]),
        "server_speedup_vs_flare": ratio(own["server"], other["server"]),
        "client_round_speedup_vs_flare": ratio(own["client"] + own["open"], other["client"] + other["open"]),
        "upload_vs_float32": round(job.message_bytes / (4 * dimension), 4),
        "upload_vs_float32_flare": round(length / (4 * dimension), 2),
        **{f"{call}_s": spent for call, spent in own.items()},
        **{f"{call}_s_flare": spent for call, spent in other.items()},
        "parameters": dimension,
        "tensors": len(shapes),
    }


def measure() -> dict[str, object]:
    """Measure both models; figures by name, and under each name by model."""
    by_model = {"flat": _compare(FLAT), "unet": _compare(json.loads(UNET.read_text()))}
    figures: dict[str, object] = {
        name: {model: by_model[model][name] for model in by_model} for name in by_model["flat"]
    }
    return figures | {"sites": SITES, "rounds": ROUNDS}


def run() -> dict[str, object]:
    """Measure in a process of its own."""
    return on_one_core(__name__)
