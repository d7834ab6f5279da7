"""How the protections are timed: in a process of its own on one core, in processor seconds, two sides in turn."""

import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def on_one_core(module: str) -> dict[str, Any]:
    """Return what a module's `measure()` returns in a new process; it and what it starts have one core.

    Args:
        module: dotted name.
    """
    command = [sys.executable, "-m", "tests.benchmarks.one_core", module]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, check=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """Return what a call returns, and the processor seconds of this process that it took."""
    begin = time.process_time()
    result = call()
    return result, time.process_time() - begin


def median(seconds: Iterable[float]) -> float:
    """Return the median, to a microsecond."""
    return round(statistics.median(seconds), 6)


def ratio(ours: float, theirs: float) -> float:
    """Return how many times as long theirs takes, to two digits."""
    return round(theirs / ours, 2)


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(json.dumps(importlib.import_module(sys.argv[1]).measure()), flush=True)
