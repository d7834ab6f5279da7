"""Homomorphic encryption beside FLARE's own: five sites, float32 updates of a flat million and of a MONAI UNet.

- `client_speedup_vs_flare`: from the update in floats to the message in bytes.
- `server_speedup_vs_flare`: from five messages in bytes to what goes back to the sites in bytes.
- `client_round_speedup_vs_flare`: the client's time with the decryption of the result; in ours it also acknowledges
  and checks the sum, and expands the sites' seeds, which FLARE's server does.
- `upload_vs_float32`: bytes of a message over the bytes of the update.
"""

import json
import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from tests.benchmarks.one_core import median, on_one_core, ratio, timed
from tests.benchmarks.peers import Peer
from tests.benchmarks.protected_models import SITES, Model, models
from tests.benchmarks.protection_job import ProtectedJob

ROUNDS = 7
FLAT = {"weights": [1_000_000]}
UNET = Path(__file__).with_name("unet_shapes.json")


def _our_round(job: ProtectedJob, sites: list[Model], seconds: dict[str, list[float]]) -> None:
    """Run a round of ours; making one vector of the model's tensors is the client's work too."""
    updates = {}
    flatten = []
    for name, model in zip(job.names, sites, strict=True):
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
    dimension, sites = sum(map(math.prod, shapes.values())), models(shapes)
    job = ProtectedJob("he", SITES, dimension)
    ours: dict[str, list[float]] = defaultdict(list)
    theirs: dict[str, list[float]] = defaultdict(list)
    with Peer(sys.executable, "-m", "tests.benchmarks.flare_he", json.dumps(shapes)) as flare:
        for number in range(ROUNDS + 1):
            answer = flare.ask()
            _our_round(job, sites, ours)
            for call in ("client", "server", "open"):
                theirs[call] += answer[call]
            if number == 0:
                ours.clear()
                theirs.clear()
    own, other = ({call: median(spent) for call, spent in side.items()} for side in (ours, theirs))
    return {
        "client_speedup_vs_flare": ratio(own["client"], other["client"]),
        "server_speedup_vs_flare": ratio(own["server"], other["server"]),
        "client_round_speedup_vs_flare": ratio(own["client"] + own["open"], other["client"] + other["open"]),
        "upload_vs_float32": round(job.message_bytes / (4 * dimension), 4),
        "upload_vs_float32_flare": round(answer["message_bytes"] / (4 * dimension), 2),
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
