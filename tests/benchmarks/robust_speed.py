"""Robust rules beside Flower's (flwr 1.42.0) and ByzFL's (0.0.11), one million parameters, ten and fifty rows.

Under `n10` and `n50` of each rule:

- `speedup_vs_best_peer`: the fastest peer's processor seconds over ours. ByzFL runs on NumPy arrays and on torch
  tensors, and counts as two peers.
- `vs_read_pass`: our processor seconds over those of adding up all rows once.
- `memory_vs_update`: the kernel's peak beyond the rows and the result, in updates of float32; under `n10` alone.

All sides run in turn. Where definitions agree, results are compared once, and the benchmark fails if an entry differs
by more than 1e-5. f is the largest that all rules allow. ByzFL's geometric median stops after three rounds by default,
ours converges; its Krum takes one neighbour more than the paper's.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tests.benchmarks.one_core import ROOT, median, on_one_core, ratio, timed
from tests.benchmarks.peers import HERE, Peer, peers_python
from tests.benchmarks.protection_memory import ALLOCATOR

from almoner.robust.rules import make_rule

PEER = HERE / "robust_peer.py"
DIMENSION = 1_000_000
CASES = {10: (1, 7), 50: (11, 3)}
"""f and repetitions by n."""
KINDS = ("krum", "multi_krum", "median", "trimmed_mean", "geometric_median", "bulyan")
PEERS = ("flower", "byzfl", "byzfl_torch")
SLOW_SECONDS = 10.0
"""A peer that takes longer is run no more: its one time is its median."""
AGREE = {
    "krum": "flower",
    "multi_krum": "flower",
    "median": "flower",
    "trimmed_mean": "byzfl",
    "geometric_median_converged": "byzfl",
    "bulyan": "flower",
}
"""Whose result is compared; with f ≤ 2 Bulyan's ties are broken otherwise, see `Bulyan`."""
Rows = npt.NDArray[np.float32]


def own(kind: str, rows: Rows, num_byzantine: int) -> Rows:
    """Return our result."""
    return make_rule(kind.removesuffix("_converged"), num_byzantine).aggregate(rows, np.ones(len(rows))).vector


def compare(num_rows: int) -> dict[str, dict[str, object]]:
    """Return the figures by rule."""
    num_byzantine, rounds = CASES[num_rows]
    rows = np.random.default_rng(num_rows).standard_normal((num_rows, DIMENSION), dtype=np.float32)
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "rows.npy"
        np.save(stored, rows)
        with Peer(peers_python(), "-I", PEER, stored) as peer:
            _check_agreement(peer, rows, num_byzantine, Path(folder) / "result.npy", seconds)
            for _ in range(rounds + 1):
                for kind in KINDS:
                    _run_all(peer, kind, rows, num_byzantine, seconds)
    return {kind: _figures(kind, seconds) for kind in KINDS}


def _run_all(
    peer: Peer, kind: str, rows: Rows, num_byzantine: int, seconds: dict[tuple[str, str], list[float]]
) -> None:
    """Run one rule once on all sides."""
    seconds[kind, "read"].append(timed(rows.sum)[1])
    seconds[kind, "own"].append(timed(lambda: own(kind, rows, num_byzantine))[1])
    for name in PEERS:
        if max(seconds.get((kind, name), [0.0])) > SLOW_SECONDS:
            continue
        spent = peer.ask(peer=name, rule=kind, f=num_byzantine)["seconds"]
        if spent is not None:
            seconds[kind, name].append(spent)


def _check_agreement(
    peer: Peer, rows: Rows, num_byzantine: int, stored: Path, seconds: dict[tuple[str, str], list[float]]
) -> None:
    """Compare results where definitions agree, and keep the times.

    Raises:
        RuntimeError: they do not.
    """
    for kind, name in AGREE.items():
        if kind == "bulyan" and num_byzantine <= 2:
            continue
        answer = peer.ask(peer=name, rule=kind, f=num_byzantine, save=str(stored))
        seconds[kind, name].append(answer["seconds"])
        difference = float(np.abs(np.load(stored).ravel() - own(kind, rows, num_byzantine)).max())
        print(f"robust: {kind} of {len(rows)} rows differs from {name}'s by {difference:.1e}", file=sys.stderr)
        if difference > 1e-5:
            raise RuntimeError(f"{kind} of {len(rows)} rows differs from {name}'s by {difference}")


def _figures(kind: str, seconds: dict[tuple[str, str], list[float]]) -> dict[str, object]:
    """Return ratios and seconds of one rule; of several times, the first is a warm-up."""
    times = {name: seconds[kind, name] for name in ("read", "own", *PEERS) if (kind, name) in seconds}
    spent = {name: median(taken[1:] or taken) for name, taken in times.items()}
    best = min((name for name in PEERS if name in spent), key=spent.__getitem__)
    return {
        "speedup_vs_best_peer": ratio(spent["own"], spent[best]),
        "vs_read_pass": ratio(spent["read"], spent["own"]),
        "best_peer": best,
        **{f"{name}_s": value for name, value in spent.items()},
    }


def memory() -> dict[str, float]:
    """Return what each rule takes beyond ten rows and its result, in updates of ten million parameters."""
    dimension = 10_000_000
    command = [sys.executable, "-m", "tests.benchmarks.robust_memory", "10", str(dimension), "1", *KINDS]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | ALLOCATOR, stdout=subprocess.PIPE, check=True, text=True)
    return {kind: round(grown / (4 * dimension) - 1, 2) for kind, grown in json.loads(done.stdout).items()}


def measure() -> dict[str, object]:
    """Measure all; figures by rule, and under each rule by n."""
    figures: dict[str, dict[str, dict[str, object]]] = {kind: {} for kind in KINDS}
    for num_rows in CASES:
        for kind, found in compare(num_rows).items():
            figures[kind][f"n{num_rows}"] = found
    for kind, grown in memory().items():
        figures[kind]["n10"]["memory_vs_update"] = grown
    return {**figures, "parameters": DIMENSION, "f": {f"n{count}": case[0] for count, case in CASES.items()}}


def run() -> dict[str, object]:
    """Measure in a process of its own."""
    return on_one_core(__name__)
