"""The file `build/bench.json`: figures by benchmark, and beside each the machine and versions it ran on."""

import importlib.metadata
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import psutil

from almoner.data.atomic import write_atomically

BENCH_FILE = Path(__file__).resolve().parents[2] / "build" / "bench.json"
_PACKAGES = ("almoner", "nvflare", "torch", "numpy", "tenseal", "cryptography")


def describe_run() -> dict[str, object]:
    """Describe machine, versions and time before a benchmark; the load tells whether others use the machine."""
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "cpus": os.cpu_count(),
            "model": model or platform.machine(),
            "memory_bytes": psutil.virtual_memory().total,
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def merge(path: Path, name: str, figures: dict[str, object], run: dict[str, object]) -> None:
    """Put one benchmark's figures into the file; those of the others stay as they are.

    Args:
        path: the file; made if it is not there.
        name: the benchmark's key; its figures go under it, its run under `runs` and it.
        figures: nested mapping of numbers.
        run: what `describe_run` said, and whatever else is to be known about the run.
    """
    bench: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    bench[name] = figures
    bench.setdefault("runs", {})[name] = run
    text = json.dumps(bench, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def flatten_keys(figures: dict[str, object], prefix: str) -> dict[str, object]:
    """Return nested figures by dotted key."""
    flat: dict[str, object] = {}
    for key, value in figures.items():
        name = f"{prefix}.{key}"
        flat |= flatten_keys(value, name) if isinstance(value, dict) else {name: value}
    return flat


def render_table(name: str, figures: dict[str, object]) -> str:
    """Return one line a figure, dotted keys on the left."""
    flat = flatten_keys(figures, name)
    width = max(map(len, flat), default=0)
    return "\n".join(f"{key:<{width}}  {value}" for key, value in flat.items())
