"""Memory that the protections take beyond the update itself: five sites, ten million parameters.

All figures are multiples of the update in float32 (4 d bytes); both sides of both schemes:

- `*_client`: while `protect` runs, beyond the integers that the trainer hands it.
- `*_client_open`: while `open` runs, beyond the total that it is given and the sum that it returns. HE lets its last
  message go first, which is more than it then takes: 0.
- `*_server`: in a round, beyond the sites' messages.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

SITES = 5
DIMENSION = 10_000_000
ROOT = Path(__file__).resolve().parents[2]
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "1"}
"""Freed arrays go back to the system at once, so that none of them hides a later one."""


def probe(scheme: str, dimension: int) -> dict[str, int]:
    """Return the growths that a process of its own finds, in bytes by call."""
    command = [sys.executable, "-m", "tests.benchmarks.memory_probe", scheme, str(SITES), str(dimension)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | ALLOCATOR, stdout=subprocess.PIPE, check=True, text=True)
    return {call: int(grown) for call, grown in json.loads(done.stdout).items()}


def run() -> dict[str, object]:
    """Measure both schemes."""
    update, opened = 4 * DIMENSION, 8 * DIMENSION
    figures: dict[str, object] = {}
    for scheme in ("secagg", "he"):
        grown = probe(scheme, DIMENSION)
        figures[f"{scheme}_client"] = round(grown["protect"] / update, 2)
        figures[f"{scheme}_client_open"] = round(max(0, grown["open"] - opened) / update, 2)
        figures[f"{scheme}_server"] = round(grown["server"] / update, 2)
    return figures | {"update_bytes": update, "sites": SITES}
