"""Measures the memory of one scheme in a process of its own: `python -m tests.benchmarks.memory_probe SCHEME SITES D`.

The peak is the kernel's (VmHWM, reset before each call), over what the process held before the call. Printed are
the largest growths in bytes, by call.
"""

import ctypes
import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.benchmarks.protected_models import make_update
from tests.benchmarks.protection_job import ProtectedJob

T = TypeVar("T")
PROCESS = Path("/proc/self")


def memory_bytes(key: str) -> int:
    """Return a field of the process's status, in bytes."""
    lines = (PROCESS / "status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def growth(call: Callable[[], T]) -> tuple[T, float]:
    """Return what a call returns, and by how many bytes the process grew at most while it ran."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = memory_bytes("VmRSS")
    (PROCESS / "clear_refs").write_text("5")
    result = call()
    return result, memory_bytes("VmHWM") - before


def main() -> None:
    """Run two rounds and print the growths of the second, in which nothing is loaded for the first time."""
    scheme, num_sites, dimension = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if scheme not in ("he", "secagg"):
        raise SystemExit(f"no such scheme: {scheme}")
    job = ProtectedJob(scheme, num_sites, dimension, growth)
    updates = {name: make_update(dimension, seed) for seed, name in enumerate(job.names)}
    job.round(updates)
    costs = job.round(updates)
    print(json.dumps({"server": max(costs.server), **{call: max(grown) for call, grown in costs.sites.items()}}))


if __name__ == "__main__":
    main()
