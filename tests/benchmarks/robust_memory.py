"""Measures the memory of robust rules in a process of its own: prints the growth of each in bytes, beyond the rows.

The peak is the kernel's, BLAS's own buffers and the result among it; see `memory_probe.py`.
"""

import json
import sys

import numpy as np
from tests.benchmarks.memory_probe import growth

from almoner.robust.rules import make_rule


def main() -> None:
    """Run each rule twice, and print the second growth: `robust_memory.py SITES D F RULE...`."""
    num_rows, dimension, num_byzantine = map(int, sys.argv[1:4])
    rows = np.random.default_rng(0).standard_normal((num_rows, dimension), dtype=np.float32)
    sizes, grown = np.ones(num_rows), {}
    for kind in sys.argv[4:]:
        rule = make_rule(kind, num_byzantine)
        rule.aggregate(rows, sizes)
        _, grown[kind] = growth(lambda rule=rule: rule.aggregate(rows, sizes))
    print(json.dumps(grown))


if __name__ == "__main__":
    main()
