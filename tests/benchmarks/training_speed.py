"""What privacy costs a step of training: ours beside Opacus 1.6.0 and ordinary SGD, batches of 256, one thread.

Under each model:

- `overhead_vs_plain`: our processor seconds over those of a step without privacy.
- `overhead_vs_best_opacus`: over those of the fastest of Opacus' modes.
- `overhead_vs_best_opacus_same_noise`: the same, with Opacus' noise from our source. Its own is torch's generator,
  which can be predicted, in float32; its secure mode needs a package that cannot be installed any more.
- `noise_s`: what drawing our noise takes.
- `peak_memory_bytes`: the kernel's peak beyond what the process held before the step.

All sides take turns; one that takes ten times as long as the plain step has no second turn. A turn is two steps, of
which the second counts: in training, a step finds memory and caches as one of its own kind left them. Each step has
gradients, clipping, noise and a change of the weights; ours has all that a site's round has: sampling, padded passes,
the lattice, and integers on the job's grid.
"""

import json
import os
import subprocess
import sys
import warnings
from collections import defaultdict

import torch
from tests.benchmarks.one_core import ROOT, median, on_one_core, ratio, timed
from tests.benchmarks.protection_memory import ALLOCATOR
from tests.benchmarks.training_peers import (
    MODELS,
    MODES,
    noise_step,
    opacus_step,
    own_step,
    plain_step,
    secure_noise_step,
)

ROUNDS = 9
SLOW = 10


def compare(name: str) -> dict[str, object]:
    """Return the figures of one model; the first turn is a warm-up."""
    build = MODELS[name]
    steps = {"plain": plain_step(build()), "own": own_step(build()), "noise": noise_step(build())}
    steps |= {mode: opacus_step(build(), mode) for mode in MODES}
    steps |= {f"{mode}_secure": secure_noise_step(step) for mode, step in steps.items() if mode in MODES}
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS + 1):
        for side, step in steps.items():
            if side not in seconds or seconds[side][-1] < SLOW * seconds["plain"][-1]:
                if side in seconds:
                    step()
                seconds[side].append(timed(step)[1])
    spent = {side: median(taken[1:] or taken) for side, taken in seconds.items()}
    best, secure = (min(MODES, key=lambda mode: spent[mode + noise]) for noise in ("", "_secure"))
    return {
        "overhead_vs_plain": ratio(spent["plain"], spent["own"]),
        "overhead_vs_best_opacus": ratio(spent[best], spent["own"]),
        "overhead_vs_best_opacus_same_noise": ratio(spent[f"{secure}_secure"], spent["own"]),
        "best_opacus": best,
        "best_opacus_vs_plain": ratio(spent["plain"], spent[best]),
        "peak_memory_bytes": memory(name),
        **{f"{side}_s": value for side, value in spent.items()},
    }


def memory(name: str) -> int:
    """Return what our step takes beyond what the process held before, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.training_memory", name]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | ALLOCATOR, stdout=subprocess.PIPE, check=True, text=True)
    return int(json.loads(done.stdout)["own"])


def measure() -> dict[str, object]:
    """Measure all models."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    return {name: compare(name) for name in MODELS}


def run() -> dict[str, object]:
    """Measure in a process of its own."""
    return on_one_core(__name__)
