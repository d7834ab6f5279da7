"""How much larger the error of a sum over sites is where each site noises its own numbers, beside the theory.

    .venv/bin/python -m tests.statistical.distributed_error

Every site holds counts, and one request is answered many times under both trust models, by the code that jobs run. The
theory: each of n sites adds σ by itself, or σ/√(t - c) as its share, so the errors' ratio is √(t - c).
"""

import json
import math
from dataclasses import dataclass

import numpy as np

from almoner.protection.parties import Parties
from almoner.release.mechanisms import noised
from almoner.release.share import in_units, noised_share
from almoner.schema.statistics import StatisticsSpec

CELLS = 50
LAYOUTS = ((4, 1), (10, 1), (10, 3), (50, 10))
RUNS = 40


@dataclass(frozen=True)
class Comparison:
    """Root mean square errors of one cell of the sum over all sites.

    Args:
        theory: √(t - c).
    """

    num_sites: int
    num_colluding_sites: int
    local: float
    distributed: float
    theory: float

    @property
    def ratio(self) -> float:
        """How much larger the local error is."""
        return self.local / self.distributed


def request(trust: dict[str, object], epsilon: float = 0.5) -> StatisticsSpec:
    """Return a request for one histogram of `CELLS` cells."""
    values = [f"c{index}" for index in range(CELLS)]
    fields = {
        "schema_version": 1,
        "kind": "statistics",
        "name": "error",
        "study": "s",
        "purpose": "a test",
        "dataset": "d",
        "min_sites": 3,
        "privacy": {
            "unit": "patient",
            "neighboring_relation": "add_or_remove_one",
            "mechanism": "discrete_gaussian",
            "target_epsilon": epsilon,
            "target_delta": 1e-5,
        },
        "trust": trust,
        "confidence": 0.95,
        "min_count": 0,
        "columns": {"x": {"kind": "category", "values": values}},
        "queries": [{"name": "cells", "kind": "histogram", "share": 1.0, "column": "x"}],
    }
    return StatisticsSpec.model_validate_json(json.dumps(fields))


def compare(num_sites: int, num_colluding_sites: int, runs: int) -> Comparison:
    """Answer a request so many times under both trust models; errors are over all cells and runs."""
    exact = np.arange(CELLS, dtype=np.int64) * 7
    local, shared = (
        request({"kind": "local"}),
        request({"kind": "distributed", "num_colluding_sites": num_colluding_sites}),
    )
    errors: dict[str, list[np.ndarray]] = {"local": [], "distributed": []}
    for _ in range(runs):
        errors["local"].append(sum(noised(local, exact) for _ in range(num_sites)) - num_sites * exact)
        total = sum(noised_share(shared, exact, num_sites) for _ in range(num_sites))
        errors["distributed"].append(in_units(shared, total, num_sites) - num_sites * exact)
    rms = {name: float(np.sqrt(np.mean(np.square(found)))) for name, found in errors.items()}
    threshold = Parties(num_sites, num_colluding_sites).threshold
    theory = math.sqrt(threshold - num_colluding_sites)
    return Comparison(num_sites, num_colluding_sites, rms["local"], rms["distributed"], theory)


def main() -> None:
    """Print the comparison for a few layouts."""
    print("sites  c  local error  distributed error  ratio  theory")
    for num_sites, colluding in LAYOUTS:
        found = compare(num_sites, colluding, RUNS)
        print(
            f"{num_sites:5d} {colluding:2d} {found.local:12.2f} {found.distributed:18.2f} {found.ratio:6.3f} "
            f"{found.theory:7.3f}"
        )


if __name__ == "__main__":
    main()
