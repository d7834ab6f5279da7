"""Flower's (flwr 1.42.0) and ByzFL's (0.0.11) robust rules; runs in the peers' environment, see `peers.py`.

`robust_peer.py ROWS.npy FLOWER_FOLDER`: each line of standard input is a question {"rule": name, "f": f} and, if the
result is wanted, "save": path. The answer is {"seconds": processor seconds}. ByzFL is asked twice over, with NumPy
arrays and with torch tensors. Only its module of aggregators is loaded: the package itself imports torchvision and
seaborn, for what has nothing to do with them.
"""

import importlib.machinery
import importlib.util
import json
import sys
import time
from types import ModuleType

import numpy as np
import torch
from flwr.server.strategy import aggregate as flower


def load_byzfl() -> ModuleType:
    """Return ByzFL's module of aggregators without running the package's own `__init__`."""
    for name in ("byzfl", "byzfl.aggregators"):
        spec = importlib.machinery.PathFinder.find_spec(name, sys.modules["byzfl"].__path__ if "." in name else None)
        sys.modules[name] = importlib.util.module_from_spec(spec)
    return importlib.import_module("byzfl.aggregators.aggregators")


def flower_rules(rows: np.ndarray) -> dict:
    """Return Flower's rules by name, as functions of f; every row has the same number of examples."""
    results = lambda: [([row], 100) for row in rows]  # noqa: E731
    count = len(rows)
    return {
        "krum": lambda f: flower.aggregate_krum(results(), f, 0)[0],
        "multi_krum": lambda f: flower.aggregate_krum(results(), f, count - f)[0],
        "bulyan": lambda f: flower.aggregate_bulyan(results(), f, flower.aggregate_krum, to_keep=0)[0],
        "median": lambda f: flower.aggregate_median(results())[0],
        "trimmed_mean": lambda f: flower.aggregate_trimmed_avg(results(), (f + 0.5) / count)[0],
    }


def byzfl_rules(rows: np.ndarray | torch.Tensor, byzfl: ModuleType) -> dict:
    """Return ByzFL's rules by name, as functions of f; its geometric median stops after three rounds by default."""
    return {
        "krum": lambda f: byzfl.Krum(f)(rows),
        "multi_krum": lambda f: byzfl.MultiKrum(f)(rows),
        "median": lambda f: byzfl.Median()(rows),
        "trimmed_mean": lambda f: byzfl.TrMean(f)(rows),
        "geometric_median": lambda f: byzfl.GeometricMedian()(rows),
        "geometric_median_converged": lambda f: byzfl.GeometricMedian(nu=1e-6, T=50)(rows),
        "centered_clipping": lambda f: byzfl.CenteredClipping(L=3, tau=1.0)(rows),
    }


def main() -> None:
    """Answer questions until there are no more."""
    torch.set_num_threads(1)
    rows, byzfl = np.load(sys.argv[1]), load_byzfl()
    peers = {
        "flower": flower_rules(rows),
        "byzfl": byzfl_rules(rows, byzfl),
        "byzfl_torch": byzfl_rules(torch.from_numpy(rows), byzfl),
    }
    for line in sys.stdin:
        question = json.loads(line)
        rule = peers[question["peer"]].get(question["rule"])
        begin = time.process_time()
        result = None if rule is None else rule(question["f"])
        seconds = None if rule is None else time.process_time() - begin
        if "save" in question:
            np.save(question["save"], np.asarray(result))
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
